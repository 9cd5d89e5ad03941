//! How a version is named: `trends`, `trends@3`, `trends@champion`.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use tradewind_core::ErrorKind;

/// The alias of the version that answers when nothing else is said.
pub const CHAMPION: &str = "champion";

/// The word that stands for the newest version; no alias may have it.
const LATEST: &str = "latest";

const MODEL_CHARS_MAX: usize = 100;
const ALIAS_CHARS_MAX: usize = 63;

/// Which version of a model is meant; it parses from text and is shown as it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    model: String,
    select: Select,
}

/// The part behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Select {
    /// Nothing: the champion, or the newest version where no champion was named.
    Usual,
    /// `@latest`: the newest version that is not archived.
    Latest,
    /// `@3`: this version.
    Number(u64),
    /// `@champion`: the version that the alias points to.
    Alias(String),
}

impl Reference {
    /// The version of this number.
    ///
    /// # Errors
    /// A name that no model can have, a number of 0.
    pub fn number(model: &str, number: u64) -> Result<Self> {
        format!("{model}@{number}").parse()
    }

    /// The version that an alias points to.
    ///
    /// # Errors
    /// A name that no model or alias can have.
    pub fn alias(model: &str, alias: &str) -> Result<Self> {
        check_alias(alias)?;
        format!("{model}@{alias}").parse()
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Which of its versions.
    pub fn select(&self) -> &Select {
        &self.select
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (model, select) = match text.split_once('@') {
            None => (text, Select::Usual),
            Some((model, LATEST)) => (model, Select::Latest),
            Some((model, number)) if number.starts_with(|c: char| c.is_ascii_digit()) => {
                let number = number.parse().ok().filter(|&n| n > 0 && n <= i64::MAX as u64);
                (model, Select::Number(number.ok_or_else(|| no_reference(text))?))
            }
            Some((model, alias)) => {
                check_alias(alias)?;
                (model, Select::Alias(alias.to_owned()))
            }
        };
        check_model(model)?;
        Ok(Self { model: model.to_owned(), select })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.model)?;
        match &self.select {
            Select::Usual => Ok(()),
            Select::Latest => write!(f, "@{LATEST}"),
            Select::Number(number) => write!(f, "@{number}"),
            Select::Alias(alias) => write!(f, "@{alias}"),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// A model's name: it stands in addresses and file names, so it is plain.
pub(super) fn check_model(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    if name.len() <= MODEL_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain)
    {
        return Ok(());
    }
    Err(Error::asked(
        ErrorKind::InvalidParams,
        format!("`{}` is no name of a model", shown(name)),
        format!(
            "names begin with a letter a-z and go on with a-z, 0-9, `_`, `-` and `.`, {MODEL_CHARS_MAX} characters at most"
        ),
    ))
}

/// An alias: `[a-z][a-z0-9_-]*`.
pub(super) fn check_alias(alias: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if alias.len() <= ALIAS_CHARS_MAX
        && alias.starts_with(|c: char| c.is_ascii_lowercase())
        && alias.chars().all(plain)
        && alias != LATEST
    {
        return Ok(());
    }
    Err(Error::asked(
        ErrorKind::InvalidParams,
        format!("`{}` is no alias", shown(alias)),
        format!(
            "aliases begin with a letter a-z and go on with a-z, 0-9, `_` and `-`, {ALIAS_CHARS_MAX} characters at most; \
             `{LATEST}` always means the newest version"
        ),
    ))
}

/// What was received, short enough for a message.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

fn no_reference(text: &str) -> Error {
    Error::asked(
        ErrorKind::InvalidParams,
        format!("`{}` names no version", shown(text)),
        "write `model`, `model@3`, `model@champion` or `model@latest`",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_shows() {
        for text in ["trends", "trends@3", "trends@champion", "shop-1.weekly_sales@latest"] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
        }
        assert_eq!("a@7".parse::<Reference>().unwrap().select(), &Select::Number(7));
    }

    #[test]
    fn refuses_what_is_no_name() {
        for text in [
            "",
            "@3",
            "a@",
            "a@0",
            "a@3x",
            "a@-1",
            "A",
            "../a",
            "a/b",
            "a b",
            "a@B",
            "a@x@y",
            "1a",
            "a\0",
            "a@99999999999999999999",
            "a@9223372036854775808",
            "趋势",
            "a@.x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!("a".repeat(101).parse::<Reference>().is_err());
        assert!(Reference::alias("a", "latest").is_err());
    }
}
