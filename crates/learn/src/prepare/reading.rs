//! What the numbers of prepared columns stand for, for pages that people read.

use serde::{Deserialize, Serialize};

/// What the numbers of one prepared column stand for.
///
/// ```
/// use tradewind_learn::prepare::Reading;
/// let codes = Reading::Words(vec!["blue".into(), "red".into()]);
/// let show = |v: f64| format!("{v:.2}");
/// assert_eq!(codes.equation("kind", Some(1.0), show), "kind = red");
/// let column = Reading::Is { of: "kind".into(), word: "red".into() };
/// assert_eq!(column.title("kind=red"), "kind = red");
/// assert_eq!(column.equation("kind=red", Some(0.0), show), "kind ≠ red");
/// assert_eq!(Reading::Number.equation("price", Some(2.5), show), "price = 2.50");
/// assert_eq!(Reading::Number.equation("price", None, show), "price = ?");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Themselves.
    #[default]
    Number,
    /// Category codes: the positions of these words.
    Words(Vec<String>),
    /// One column of a one-hot encoding: 1 where a column holds a word, else 0.
    Is {
        /// The encoded column.
        of: String,
        /// The word; `(rare)` where rare ones share the column.
        word: String,
    },
}

impl Reading {
    /// The column's name as it is read: `kind = red` for a column of a one-hot encoding.
    pub fn title(&self, name: &str) -> String {
        match self {
            Self::Is { of, word } => format!("{of} = {word}"),
            Self::Number | Self::Words(_) => name.to_owned(),
        }
    }

    /// The word that a value stands for; none where it is a number, or a code without a word.
    pub fn word(&self, value: f64) -> Option<&str> {
        match self {
            // A code that is no place in the list (as a mean that filled a gap) has no word.
            Self::Words(words) if value >= 0.0 && value.fract() == 0.0 => {
                words.get(value as usize).map(String::as_str)
            }
            _ => None,
        }
    }

    /// Column and value as one statement: `kind = red`, `kind ≠ red`, `price = 2.50`, and `price = ?` where the value is
    /// missing. `number` writes a number.
    pub fn equation(&self, name: &str, value: Option<f64>, number: impl Fn(f64) -> String) -> String {
        match (self, value) {
            (Self::Is { of, word }, Some(0.0)) => format!("{of} ≠ {word}"),
            (Self::Is { .. }, Some(1.0)) => self.title(name),
            (Self::Is { .. }, Some(v)) => format!("{} ({})", self.title(name), number(v)),
            (Self::Is { .. }, None) => format!("{} ?", self.title(name)),
            (_, None) => format!("{name} = ?"),
            (_, Some(v)) => match self.word(v) {
                Some(word) => format!("{name} = {word}"),
                None => format!("{name} = {}", number(v)),
            },
        }
    }
}
