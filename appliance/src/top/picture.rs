//! The picture as lines of text. All of it is ASCII, because terminals and locales differ.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::choice::Choice;
use super::columns::{Column, NARROW, Row, WIDE, WIDE_FROM};
use super::rates::{Rates, ServiceRates};
use super::terminal::Palette;
use crate::observe::number_format::{
    format_latency, format_percent, format_short, format_span, format_thousands,
};
use crate::observe::status_attacks;
use crate::observe::text_columns::TextColumns;
use crate::observe::{Histogram, ServiceView, Snapshot, WorkerView};

/// Lines of the table of services that stay, however little room there is.
const LEAST_SERVICES: usize = 3;
/// Lines about workers that are shown where the room is bounded.
const MOST_WORKER_LINES: usize = 3;
/// Lines about degradation that are shown where the room is bounded.
const MOST_REASONS: usize = 3;
/// The newest events that are shown.
const MOST_EVENTS: usize = 3;
/// Shares of the handoffs whose duration is shown.
const SHARES: [(f64, &str); 4] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")];

/// The room for the picture, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    width: usize,
    /// `None` = as many lines as there are, and none about keys.
    height: Option<usize>,
}

impl Size {
    /// A terminal.
    pub(super) fn of_terminal(width: u16, height: u16) -> Self {
        Self {
            width: width.into(),
            height: Some(height.into()),
        }
    }

    /// A file or a pipe.
    pub(super) fn of_text() -> Self {
        Self {
            width: 120,
            height: None,
        }
    }
}

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture<'a> {
    /// The latest; `None` before the first.
    pub(super) snapshot: Option<&'a Snapshot>,
    /// The rates until then; `None` before the second snapshot.
    pub(super) rates: Option<&'a Rates>,
    /// Why there is no newer snapshot.
    pub(super) trouble: Option<&'a str>,
    pub(super) choice: &'a Choice,
    pub(super) palette: Palette,
}

impl<'a> Picture<'a> {
    /// The services in order.
    pub(super) fn rows(&self) -> Vec<Row<'a>> {
        let services = self.snapshot.iter().flat_map(|one| &one.services);
        let rates = self.rates;
        let rates_of = move |index: usize| rates.and_then(|all| all.services.get(index)?.as_ref());
        let mut rows: Vec<Row<'a>> = services
            .enumerate()
            .map(|(index, service)| (service, rates_of(index)))
            .collect();
        self.choice.sort(&mut rows);
        rows
    }

    /// The lines, at most as many as there is room for.
    pub(super) fn lines(&self, size: Size) -> Vec<Line<'static>> {
        let mut head = self.trouble_lines(size.width);
        let Some(snapshot) = self.snapshot else {
            head.push(self.keys());
            return head;
        };
        head.extend(self.head(snapshot, size));
        let rows = self.rows();
        let names = rows.iter().map(|(service, _)| service.name.as_str());
        let chosen = self.choice.place(names);
        let mut rest = vec![Line::default()];
        if let Some(row) = rows.get(chosen) {
            rest.extend(
                service_lines(*row)
                    .iter()
                    .flat_map(|text| wrap(text, size.width)),
            );
            rest.push(Line::default());
        }
        rest.extend(self.process(snapshot, size));
        if size.height.is_some() {
            rest.push(self.keys());
        }
        let room = size.height.map(|height| {
            height
                .saturating_sub(head.len() + rest.len() + 1)
                .max(LEAST_SERVICES)
        });
        head.extend(self.table(&rows, chosen, room, size.width));
        head.extend(rest);
        if let Some(height) = size.height
            && head.len() > height
        {
            // How to end it stays visible.
            head.truncate(height.saturating_sub(1));
            head.push(self.keys());
        }
        head
    }

    fn trouble_lines(&self, width: usize) -> Vec<Line<'static>> {
        let texts = self.trouble.iter().flat_map(|why| wrap(why, width));
        texts.map(|line| line.style(self.palette.bad)).collect()
    }

    /// Who runs, and how it is.
    fn head(&self, snapshot: &Snapshot, size: Size) -> Vec<Line<'static>> {
        let reasons = snapshot.unready_reasons();
        let (state, style) = if self.trouble.is_some() {
            ("last seen", self.palette.bad)
        } else if reasons.is_empty() {
            ("serving", self.palette.good)
        } else if snapshot.degraded_reasons().is_empty() {
            ("draining", self.palette.bad)
        } else {
            ("degraded", self.palette.bad)
        };
        let over = self.rates.map_or(String::new(), |rates| {
            format!(", rates over {:.1} s", rates.seconds)
        });
        let mut lines = vec![Line::from(vec![
            Span::raw(format!("synward {} ", snapshot.version)),
            Span::styled(state, style),
            Span::raw(format!(
                ", up {}, pid {}{over}",
                format_span(snapshot.uptime_seconds),
                snapshot.pid
            )),
        ])];
        let shown = size.height.map_or(reasons.len(), |_| MOST_REASONS);
        for reason in reasons.iter().take(shown) {
            let text = format!("  {reason}");
            lines.extend(wrap(&text, size.width).map(|line| line.style(self.palette.bad)));
        }
        if reasons.len() > shown {
            let left = reasons.len() - shown;
            lines.push(Line::raw(format!("  and {left} more: synward status")));
        }
        lines.push(Line::default());
        lines
    }

    /// The table of services: `room` lines and a heading, around the chosen one.
    fn table(
        &self,
        rows: &[Row<'_>],
        chosen: usize,
        room: Option<usize>,
        width: usize,
    ) -> Vec<Line<'static>> {
        let room = room.unwrap_or(rows.len());
        let first = (chosen + 1).saturating_sub(room);
        let shown: Vec<_> = rows.iter().skip(first).take(room).copied().collect();
        let texts = if width >= WIDE_FROM {
            table_text(&WIDE, &shown, chosen - first, width)
        } else {
            table_text(&NARROW, &shown, chosen - first, width)
        };
        let style = |at: usize| match at.checked_sub(1) {
            None => self.palette.heading,
            Some(row) if row == chosen - first => self.palette.chosen,
            Some(row) if shown.get(row).is_some_and(|(one, _)| one.attack.active) => {
                self.palette.bad
            }
            Some(_) => Style::new(),
        };
        let lines = texts.lines().enumerate();
        lines
            .map(|(at, text)| Line::styled(text.to_owned(), style(at)))
            .collect()
    }

    /// What belongs to no service.
    fn process(&self, snapshot: &Snapshot, size: Size) -> Vec<Line<'static>> {
        let workers: Vec<_> = snapshot.workers.iter().map(worker).collect();
        let mut lines = Vec::new();
        if !workers.is_empty() {
            let text = format!("workers busy: {}", workers.join(", "));
            lines.extend(wrap(&text, size.width));
            if size.height.is_some() {
                lines.truncate(MOST_WORKER_LINES);
            }
        }
        let recent = self.rates.map(|rates| &rates.handoffs);
        let (times, when) = match recent.filter(|times| times.count > 0) {
            Some(times) => (times, "now"),
            None => (&snapshot.handoff_seconds, "since the start"),
        };
        lines.extend(wrap(&percentiles(times, when), size.width));
        let table = &snapshot.flows;
        let share = table.used as f64 / table.capacity.max(1) as f64;
        lines.push(Line::raw(format!(
            "flow table: {} of {} used ({})",
            format_thousands(table.used),
            format_thousands(table.capacity),
            format_percent(share)
        )));
        let lost = self.rates.map_or(&[][..], |rates| &rates.lost);
        let lost: Vec<_> = snapshot
            .interfaces
            .iter()
            .zip(lost)
            .filter(|(_, rate)| **rate > 0.0)
            .map(|(interface, rate)| format!("{} {}", interface.name, format_short(*rate)))
            .collect();
        if !lost.is_empty() {
            let text = format!("frames lost/s: {}", lost.join(", "));
            lines.push(Line::styled(text, self.palette.bad));
        }
        let events = status_attacks::events(snapshot);
        let events = events.lines().take(MOST_EVENTS);
        lines.extend(events.flat_map(|event| wrap(event, size.width)));
        lines
    }

    fn keys(&self) -> Line<'static> {
        let order = self.choice.order.heading();
        let reversed = if self.choice.reversed {
            ", reversed"
        } else {
            ""
        };
        Line::raw(format!(
            "q quit  s sort (by {order}{reversed})  r reverse  up/down service"
        ))
    }
}

/// The rows under their headings, with a mark at the chosen one and at those under attack. Names are cut so that the numbers fit.
fn table_text<const N: usize>(
    columns: &[Column; N],
    rows: &[Row<'_>],
    chosen: usize,
    width: usize,
) -> String {
    let with_names_of = |longest: usize| {
        let mut table = TextColumns::new(columns.map(|column| {
            let indent = if column == Column::Service { "  " } else { "" };
            (format!("{indent}{}", column.heading()), column.align())
        }));
        for (at, row) in rows.iter().enumerate() {
            table.row(columns.map(|column| match column {
                Column::Service => {
                    let mark = if at == chosen { ">" } else { " " };
                    let attack = if row.0.attack.active { "!" } else { " " };
                    let name: String = column.cell(*row).chars().take(longest).collect();
                    format!("{mark}{attack}{name}")
                }
                _ => column.cell(*row),
            }));
        }
        table.text()
    };
    let text = with_names_of(usize::MAX);
    let needed = text.lines().map(str::len).max().unwrap_or(0);
    if needed <= width {
        return text;
    }
    let longest = rows.iter().map(|(service, _)| service.name.len()).max();
    with_names_of(longest.unwrap_or(0).saturating_sub(needed - width).max(8))
}

/// The details of the chosen service.
fn service_lines((service, rates): Row<'_>) -> Vec<String> {
    let ServiceView {
        name,
        handoff,
        mode,
        ..
    } = service;
    let Some(ServiceRates {
        answered_xdp,
        answered_afxdp,
        drops,
        handoffs,
        ..
    }) = rates
    else {
        return vec![format!("{name} ({handoff}, {mode}): no rates yet")];
    };
    let [xdp, afxdp] = [*answered_xdp, *answered_afxdp].map(format_short);
    let mut lines = vec![
        format!("{name} ({handoff}, {mode}): answers/s: xdp {xdp}, afxdp {afxdp}"),
        format!("  drops/s: {}", listed(drops)),
    ];
    if handoff != "forward" {
        lines.push(format!("  handoffs/s: {}", listed(handoffs)));
    }
    if service.held_bytes > 0 {
        let held = format_thousands(service.held_bytes);
        lines.push(format!("  held for openings: {held} bytes"));
    }
    lines.extend(status_attacks::attack(service).lines().map(str::to_owned));
    lines
}

fn listed<T: AsRef<str>>(rates: &[(T, f64)]) -> String {
    if rates.is_empty() {
        return "none".into();
    }
    let texts = rates.iter().map(|(name, rate)| {
        let name = name.as_ref().replace('_', " ");
        format!("{name} {}", format_short(*rate))
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn worker(worker: &WorkerView) -> String {
    let load = if worker.alive {
        format_percent(worker.busy_ratio)
    } else {
        "DEAD".into()
    };
    match worker.core {
        Some(core) => format!("{} (core {core}) {load}", worker.queue),
        None => format!("{} {load}", worker.queue),
    }
}

/// The durations that the shares of the handoffs did not exceed: bounds of the histogram's buckets.
fn percentiles(times: &Histogram, when: &str) -> String {
    if times.count == 0 {
        return "handoff: none yet".into();
    }
    let share = |(share, name): (f64, &str)| match times.within(share) {
        Some(bound) => format!("{name} <= {}", format_latency(bound)),
        None => format!("{name} > 10 s"),
    };
    format!("handoff ({when}): {}", SHARES.map(share).join(", "))
}

/// Breaks a text between words into lines of at most `width` characters; further lines are indented.
fn wrap(text: &str, width: usize) -> impl Iterator<Item = Line<'static>> + use<> {
    let indent = text.len() - text.trim_start().len();
    let mut lines = vec![" ".repeat(indent)];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|line| {
            let used = line.chars().count();
            line.trim().is_empty() || used + 1 + word.chars().count() <= width
        });
        match last {
            Some(line) => {
                if !line.trim().is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            None => lines.push(format!("{}{word}", " ".repeat(indent + 2))),
        }
    }
    lines.into_iter().map(Line::raw)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
