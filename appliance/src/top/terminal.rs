//! Whether there is a terminal, and whether it has colours.

use std::env;
use std::io::{IsTerminal as _, stdin, stdout};

use ratatui::style::{Color, Modifier, Style};

/// The styles of the picture. Without colours, everything that they say is in the text as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Palette {
    /// All is well.
    pub(super) good: Style,
    /// Something needs attention.
    pub(super) bad: Style,
    /// Headings.
    pub(super) heading: Style,
    /// The chosen service.
    pub(super) chosen: Style,
}

impl Palette {
    /// For terminals without colours.
    pub(super) const MONOCHROME: Self = Self {
        good: Style::new(),
        bad: Style::new().add_modifier(Modifier::BOLD),
        heading: Style::new().add_modifier(Modifier::BOLD),
        chosen: Style::new().add_modifier(Modifier::REVERSED),
    };

    /// For terminals with colours: those of ANSI, which every theme makes readable.
    pub(super) const COLOURED: Self = Self {
        good: Style::new().fg(Color::Green),
        bad: Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        heading: Style::new().add_modifier(Modifier::BOLD),
        chosen: Style::new().add_modifier(Modifier::REVERSED),
    };

    /// That of this process's terminal.
    pub(super) fn of_environment() -> Self {
        let term = env::var("TERM").unwrap_or_default();
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if !no_color && has_colours(&term) {
            Self::COLOURED
        } else {
            Self::MONOCHROME
        }
    }
}

/// Whether input and output are a terminal that can place its cursor.
pub(super) fn is_interactive() -> bool {
    let can_place_cursor = !matches!(env::var("TERM").as_deref(), Err(_) | Ok("" | "dumb"));
    stdin().is_terminal() && stdout().is_terminal() && can_place_cursor
}

/// Terminals by DEC have no colours; neither do entries of terminfo that end with `-m` or `-mono`.
fn has_colours(term: &str) -> bool {
    let is_dec = term.starts_with("vt") && term[2..].starts_with(|c: char| c.is_ascii_digit());
    !(is_dec || term.ends_with("-m") || term.ends_with("-mono"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_terminals_have_no_colours() {
        for (term, colours) in [
            ("xterm-256color", true),
            ("screen", true),
            ("linux", true),
            ("vt100", false),
            ("vt220", false),
            ("vte", true),
            ("xterm-mono", false),
            ("linux-m", false),
        ] {
            assert_eq!(has_colours(term), colours, "{term}");
        }
    }
}
