//! Settings whose value is one of a few words.

/// A type whose values are words in the configuration file.
pub trait Choice: Copy + 'static {
    /// Every valid word and its value.
    const WORDS: &'static [(&'static str, Self)];

    /// Parses `word`. The error lists the valid words.
    fn parse(key: &str, word: &str) -> Result<Self, String> {
        if let Some((_, value)) = Self::WORDS.iter().find(|(known, _)| *known == word) {
            return Ok(*value);
        }
        Err(format!(
            "`{key}` is {}; use {}",
            quoted(word),
            Self::words()
        ))
    }

    /// The valid words as a phrase: `"a", "b" or "c"`.
    fn words() -> String {
        let words: Vec<_> = Self::WORDS
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        }
    }
}

/// Quotes user input so that it stays on one line and cannot contain terminal control sequences.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Declares an enum and its words in the configuration file.
macro_rules! choice {
    (
        $(#[$about:meta])*
        $shown:vis $name:ident { $( $(#[$doc:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $shown enum $name { $( $(#[$doc])* $variant, )+ }

        impl $crate::config::choice::Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[ $( ($word, Self::$variant), )+ ];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $( Self::$variant => $word, )+ })
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    choice! {
        Colour { Red = "red", Green = "green", }
    }

    #[test]
    fn words_are_parsed_and_errors_list_the_valid_words() {
        assert_eq!(Colour::parse("paint", "green"), Ok(Colour::Green));
        assert_eq!(Colour::Green.to_string(), "green");
        let refused = |word| Colour::parse("paint", word).err();
        assert_eq!(
            refused("blue").as_deref(),
            Some(r#"`paint` is "blue"; use "red" or "green""#)
        );
        assert_eq!(
            refused("gr\u{1b}en").as_deref(),
            Some(r#"`paint` is "gr\u{1b}en"; use "red" or "green""#)
        );
    }

    #[test]
    fn long_words_are_cut_at_a_character() {
        assert_eq!(quoted(&"ä".repeat(61)), format!("\"{}\"…", "ä".repeat(60)));
    }
}
