use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use ratatui::text::Text;
use synward_core::counters::Counter;

use super::*;
use crate::observe::sample_snapshot;

/// The sample a second later, with a flood of `web`.
fn under_flood() -> (Snapshot, Rates) {
    let old = sample_snapshot::snapshot();
    let mut new = old.clone();
    new.uptime_seconds += 1.0;
    let web = &mut new.services[0];
    let counters = web.counters.as_mut().unwrap();
    for (counter, more) in [
        (Counter::Syn, 1_234_567),
        (Counter::AnsweredXdp, 1_200_000),
        (Counter::CookieValid, 12),
        (Counter::DropInvalidCookie, 3_000),
    ] {
        counters.set(counter, counters.value(counter) + more);
    }
    *web.handoffs.get_mut("ok").unwrap() += 12;
    let rates = Rates::between(&old, &new).unwrap();
    (new, rates)
}

fn picture<'a>(
    snapshot: &'a Snapshot,
    rates: Option<&'a Rates>,
    choice: &'a Choice,
) -> Picture<'a> {
    Picture {
        snapshot: Some(snapshot),
        rates,
        trouble: None,
        choice,
        palette: Palette::MONOCHROME,
    }
}

/// What a terminal of this size shows.
fn draw(picture: &Picture<'_>, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let area = frame.area();
            let lines = picture.lines(Size::of_terminal(area.width, area.height));
            frame.render_widget(Text::from(lines), area);
        })
        .unwrap();
    terminal
}

fn shown(picture: &Picture<'_>, width: u16, height: u16) -> Vec<String> {
    let terminal = draw(picture, width, height);
    let cells = terminal.backend().buffer().content();
    cells
        .chunks(width.into())
        .map(|row| {
            let text: String = row.iter().map(|cell| cell.symbol()).collect();
            text.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn eighty_by_twenty_four_shows_everything() {
    let (snapshot, rates) = under_flood();
    let choice = Choice::default();
    let lines = shown(&picture(&snapshot, Some(&rates), &choice), 80, 24);
    assert_eq!(
        lines.join("\n").trim_end(),
        "\
synward 0.1.0 serving, up 3 d 4 h, pid 4711, rates over 1.0 s

  service  mode    SYNs/s  answers/s  proven/s  drops/s   flows  openings
>!web      always  1.23 M     1.20 M        12   3.00 k  1.20 k         3
 !mail     always       0          0         0        0  1.20 k         3

web (splice, always): answers/s: xdp 1.20 M, afxdp 0
  drops/s: invalid cookie 3.00 k
  handoffs/s: ok 12
  held for openings: 4,380 bytes
web: under attack for 12 s: 9,000 SYN/s, at most 9,500; over when below 2,000
  SYN/s for long enough
web: claimed sources of the attack (may be spoofed): 198.51.100.0/24 25 %

workers busy: 0 (core 2) 87 %, 1 DEAD
handoff (since the start): p50 <= 0.25 ms, p90 <= 1.0 ms, p99 <= 1.0 ms, p99.9
  <= 1.0 ms
flow table: 1,203 of 1,048,576 used (0.1 %)
12 s ago: web: attack begins
q quit  s sort (by SYNs/s)  r reverse  up/down service"
    );
}

#[test]
fn without_a_process_it_says_so() {
    let (choice, snapshot) = (Choice::default(), sample_snapshot::snapshot());
    let waiting = Picture {
        snapshot: None,
        trouble: Some("not running"),
        ..picture(&snapshot, None, &choice)
    };
    let lines = shown(&waiting, 80, 24);
    assert_eq!(lines[0], "not running");
    assert!(lines[1].starts_with("q quit"));

    let gone = Picture {
        trouble: Some("not running"),
        ..picture(&snapshot, None, &choice)
    };
    let lines = shown(&gone, 80, 24);
    assert_eq!(lines[0], "not running");
    assert!(lines[1].starts_with("synward 0.1.0 last seen, up"));
    assert!(lines.iter().any(|line| line.contains("no rates yet")));
}

#[test]
fn many_services_leave_room_for_the_rest() {
    let (mut snapshot, _) = under_flood();
    let one = snapshot.services[1].clone();
    snapshot.services = (0..1024)
        .map(|number| ServiceView {
            name: format!("a-name-of-thirty-two-letters-{number:03}"),
            ..one.clone()
        })
        .collect();
    let mut choice = Choice::default();
    let names: Vec<_> = snapshot
        .services
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let end = crossterm::event::KeyCode::End.into();
    choice.press(end, &names);
    for (width, height) in [(80, 24), (132, 50), (80, 10), (20, 3), (1, 1)] {
        let lines = shown(&picture(&snapshot, None, &choice), width, height);
        // The columns of a narrow terminal cut it.
        let keys: String = "q quit".chars().take(width.into()).collect();
        assert!(lines.last().unwrap().starts_with(&keys), "{lines:#?}");
        if height < 24 {
            continue;
        }
        let chosen = lines.iter().find(|line| line.starts_with('>')).unwrap();
        assert!(width == 80 || chosen.contains("-1023"), "{chosen}");
        assert!(chosen.ends_with(" 3"), "{chosen}");
        assert!(lines.iter().any(|line| line.starts_with("q quit")));
        assert!(lines.iter().any(|line| line.starts_with("workers busy")));
    }
    let text = picture(&snapshot, None, &choice).lines(Size::of_text());
    assert!(text.len() > 1024);
}

#[test]
fn a_wide_terminal_shows_more_columns() {
    let (snapshot, rates) = under_flood();
    let choice = Choice::default();
    let lines = shown(&picture(&snapshot, Some(&rates), &choice), 132, 40);
    assert!(lines[2].contains("handoff") && lines[2].contains("invalid/s"));
}

#[test]
fn degradation_is_named_and_bounded() {
    let (mut snapshot, _) = under_flood();
    snapshot.degraded = (0..9).map(|number| format!("reason {number}")).collect();
    let choice = Choice::default();
    let lines = shown(&picture(&snapshot, None, &choice), 80, 24);
    assert!(lines[0].starts_with("synward 0.1.0 degraded, up"));
    assert_eq!(lines[1], "  reason 0");
    assert_eq!(lines[4], "  and 6 more: synward status");
    let text = picture(&snapshot, None, &choice).lines(Size::of_text());
    let reasons = text
        .iter()
        .filter(|line| line.to_string().contains("reason"));
    assert_eq!(reasons.count(), 9);
}

#[test]
fn colours_are_used_only_where_there_are_some() {
    let (snapshot, rates) = under_flood();
    let choice = Choice::default();
    let monochrome = picture(&snapshot, Some(&rates), &choice);
    let coloured = Picture {
        palette: Palette::COLOURED,
        ..monochrome
    };
    let has_colour = |picture: &Picture<'_>| {
        let terminal = draw(picture, 80, 24);
        let cells = terminal.backend().buffer().content();
        assert!(
            cells
                .iter()
                .any(|cell| cell.modifier.contains(Modifier::REVERSED))
        );
        assert!(cells.iter().all(|cell| cell.symbol().is_ascii()));
        cells
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(!has_colour(&monochrome));
    assert!(has_colour(&coloured));
}

#[test]
fn long_texts_break_between_words() {
    let lines: Vec<_> = wrap("  one two three", 9)
        .map(|line| line.to_string())
        .collect();
    assert_eq!(lines, ["  one two", "    three"]);
    assert_eq!(wrap("unbreakable", 3).count(), 1);
    assert_eq!(wrap("", 3).count(), 1);
}
