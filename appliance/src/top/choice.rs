//! What the user chose, and what each key does.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::columns::{Column, Row};

/// The order of the services, and the service whose details are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) order: Column,
    pub(super) reversed: bool,
    /// Its name; `None` = the first in order.
    service: Option<String>,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// End.
    Quit,
    /// The choice changed.
    Redraw,
    /// The key has no meaning.
    Nothing,
}

impl Choice {
    /// Puts the services in order.
    pub(super) fn sort(&self, rows: &mut [Row<'_>]) {
        rows.sort_by(|one, other| {
            let order = self.order.compare(*one, *other);
            if self.reversed {
                order.reverse()
            } else {
                order
            }
        });
    }

    /// The place of the chosen service among those in order; the first one if it is gone.
    pub(super) fn place<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> usize {
        let service = self.service.as_deref();
        service
            .and_then(|service| names.position(|name| name == service))
            .unwrap_or(0)
    }

    /// Does what a key asks for. `names` are the services in the order in which they are shown.
    pub(super) fn press(&mut self, key: KeyEvent, names: &[&str]) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let last = names.len().saturating_sub(1);
        let at = self.place(names.iter().copied());
        let place = match key.code {
            KeyCode::Char('c' | 'd') if control => return Action::Quit,
            KeyCode::Char(_) if control => return Action::Nothing,
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('s') => {
                self.order = self.order.next_order();
                return Action::Redraw;
            }
            KeyCode::Char('r') => {
                self.reversed = !self.reversed;
                return Action::Redraw;
            }
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (at + 1).min(last),
            KeyCode::PageUp => at.saturating_sub(10),
            KeyCode::PageDown => (at + 10).min(last),
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => return Action::Nothing,
        };
        self.service = names.get(place).map(|name| (*name).to_owned());
        Action::Redraw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn q_escape_and_control_c_end() {
        let mut choice = Choice::default();
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for quit in [key(KeyCode::Char('q')), key(KeyCode::Esc), control_c] {
            assert_eq!(choice.press(quit, &[]), Action::Quit);
        }
        let control_s = KeyEvent::new(KeyCode::Char('s'), KeyModifiers::CONTROL);
        for other in [key(KeyCode::Char('x')), key(KeyCode::F(1)), control_s] {
            assert_eq!(choice.press(other, &["web"]), Action::Nothing);
        }
        assert_eq!(choice, Choice::default());
    }

    #[test]
    fn arrows_pick_a_service_and_stop_at_the_ends() {
        let (mut choice, names) = (Choice::default(), ["a", "b", "c"]);
        let mut after = |code| {
            assert_eq!(choice.press(key(code), &names), Action::Redraw);
            choice.place(names.into_iter())
        };
        assert_eq!(after(KeyCode::Up), 0);
        assert_eq!(after(KeyCode::Down), 1);
        assert_eq!(after(KeyCode::End), 2);
        assert_eq!(after(KeyCode::Char('j')), 2);
        assert_eq!(after(KeyCode::Char('k')), 1);
        assert_eq!(after(KeyCode::PageUp), 0);
        assert_eq!(after(KeyCode::PageDown), 2);
        // The service stays chosen when the order changes, and the first is when it is gone.
        assert_eq!(choice.place(["c", "a"].into_iter()), 0);
        assert_eq!(choice.place(["a", "b", "c"].into_iter()), 2);
        assert_eq!(choice.place(["a", "b"].into_iter()), 0);
        assert_eq!(choice.press(key(KeyCode::Down), &[]), Action::Redraw);
    }

    #[test]
    fn s_and_r_change_the_order() {
        let mut choice = Choice::default();
        choice.press(key(KeyCode::Char('s')), &[]);
        choice.press(key(KeyCode::Char('r')), &[]);
        assert_eq!((choice.order, choice.reversed), (Column::Answers, true));
    }
}
