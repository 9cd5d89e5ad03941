//! Search spaces: which parameters there are, in which ranges, and when each of them matters.
//!
//! A space is plain data with a short text form that reads back:
//!
//! | text | values |
//! |---|---|
//! | `x=float(0,1)` | a number from 0 to 1 |
//! | `x=log(0.001,10)` | a number from 0.001 to 10 whose logarithm is spread evenly |
//! | `n=int(1,31)`, `n=int(1,31,2)` | a whole number, in steps of 1 or of 2 |
//! | `n=logint(10,1000)` | a whole number whose logarithm is spread evenly |
//! | `kernel=choice(linear,rbf)` | one of these words |
//! | `shuffle=flag` | true or false |
//! | `gamma[kernel=rbf]=log(0.001,10)` | only where `kernel` is `rbf`; several values with `\|` |
//!
//! Parameters are parted by blanks. A condition names a choice, flag or whole number that stands earlier.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use tradewind_core::{Error, Params, Result};

/// The values of one parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// A number.
    Float {
        /// Smallest.
        low: f64,
        /// Largest.
        high: f64,
        /// Whether its logarithm is spread evenly; `low` must then be above 0.
        log: bool,
    },
    /// A whole number: `low`, `low + step`, … up to `high`.
    Int {
        /// Smallest.
        low: i64,
        /// Largest; brought down to the last step.
        high: i64,
        /// Distance of neighbours, 1 and more.
        step: i64,
        /// Whether its logarithm is spread evenly; `low` must then be at least 1 and `step` 1.
        log: bool,
    },
    /// One of these words.
    Choice(Vec<String>),
    /// True or false.
    Flag,
}

/// When a parameter matters: where another has one of some values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// The other parameter; it stands earlier in the space.
    pub on: String,
    /// The values, as text.
    pub is: Vec<String>,
}

/// One parameter of a space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// The parameter's name.
    pub name: String,
    /// Its values.
    pub domain: Domain,
    /// When it matters; always, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
}

/// A search space.
///
/// Invariant: names are different, ranges hold values, and conditions name parameters that stand earlier.
///
/// ```
/// use tradewind_learn::search::Space;
/// let text = "kernel=choice(linear,rbf) c=log(0.01,100) gamma[kernel=rbf]=log(0.001,10)";
/// let space: Space = text.parse().unwrap();
/// assert_eq!(space.to_string(), text);
/// assert_eq!(space.dimensions().len(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Dimension>", into = "Vec<Dimension>")]
pub struct Space(Vec<Dimension>);

impl TryFrom<Vec<Dimension>> for Space {
    type Error = Error;
    fn try_from(dimensions: Vec<Dimension>) -> Result<Self> {
        Self::new(dimensions)
    }
}

impl From<Space> for Vec<Dimension> {
    fn from(space: Space) -> Self {
        space.0
    }
}

fn fault(name: &str, what: impl fmt::Display) -> Error {
    Error::Invalid(format!("search space: parameter `{name}`: {what}"))
}

/// Names and words must survive the text form.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "=,()[]|".contains(c))
}

impl Space {
    /// A checked space; the first fault is told.
    pub fn new(mut dimensions: Vec<Dimension>) -> Result<Self> {
        for at in 0..dimensions.len() {
            let (earlier, rest) = dimensions.split_at_mut(at);
            let Some(d) = rest.first_mut() else { continue };
            if !is_word(&d.name) {
                return Err(fault(&d.name, "a name is one word without any of = , ( ) [ ] |"));
            }
            if earlier.iter().any(|e| e.name == d.name) {
                return Err(fault(&d.name, "the name comes twice"));
            }
            d.domain.check().map_err(|what| fault(&d.name, what))?;
            let Some(when) = &d.when else { continue };
            let Some(on) = earlier.iter().find(|e| e.name == when.on) else {
                return Err(fault(
                    &d.name,
                    format!("its condition names `{}`, which must stand earlier", when.on),
                ));
            };
            if let Some(word) = when.is.iter().find(|word| !on.domain.has_word(word)) {
                let what =
                    format!("its condition asks for {} = {word}, which is not in {}", when.on, on.domain);
                return Err(fault(&d.name, what));
            }
            if when.is.is_empty() {
                return Err(fault(&d.name, "its condition has no value"));
            }
        }
        Ok(Self(dimensions))
    }

    /// The parameters, in order.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.0
    }

    /// Whether there is nothing to choose.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether parameter `at` matters where the earlier ones are as in `point`.
    pub fn is_active(&self, at: usize, point: &Params) -> bool {
        match &self.0[at].when {
            None => true,
            Some(when) => point.get(&when.on).is_some_and(|v| when.is.contains(&word_of(v))),
        }
    }

    /// Fails unless `point` has exactly the parameters that matter, each inside its range.
    pub fn check_point(&self, point: &Params) -> Result<()> {
        if let Some(name) = point.keys().find(|name| self.0.iter().all(|d| d.name != **name)) {
            return Err(fault(name, "it is not in the space"));
        }
        for (at, d) in self.0.iter().enumerate() {
            match (point.get(&d.name), self.is_active(at, point)) {
                (Some(v), true) if d.domain.coordinate(v).is_none() => {
                    return Err(fault(&d.name, format!("{v} is not in {}", d.domain)));
                }
                (Some(_), false) => {
                    return Err(fault(&d.name, "it is given though its condition does not hold"));
                }
                (None, true) => return Err(fault(&d.name, "it is not given")),
                _ => {}
            }
        }
        Ok(())
    }

    /// A point drawn evenly from the space.
    pub fn draw(&self, rng: &mut impl Rng) -> Params {
        self.fill(|d| d.domain.at_unit(rng.random::<f64>()))
    }

    /// A point built parameter by parameter; only those that matter are asked for.
    pub(crate) fn fill(&self, mut value: impl FnMut(&Dimension) -> Value) -> Params {
        let mut point = Params::new();
        for (at, d) in self.0.iter().enumerate() {
            if self.is_active(at, &point) {
                let v = value(d);
                point.insert(d.name.clone(), v);
            }
        }
        point
    }
}

/// A value as it is written in conditions.
fn word_of(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        other => other.to_string(),
    }
}

impl Domain {
    fn check(&mut self) -> Result<(), String> {
        match self {
            Self::Float { low, high, log } => {
                if !(low.is_finite() && high.is_finite() && *low <= *high && (*high - *low).is_finite()) {
                    return Err(format!(
                        "a range goes from a finite number to a larger one, not {low} to {high}"
                    ));
                }
                if *log && *low <= 0.0 {
                    return Err(format!("a logarithmic range lies above 0, it begins with {low}"));
                }
            }
            Self::Int { low, high, step, log } => {
                // Whole numbers beyond 2^53 have neighbours that are the same as f64.
                const MOST: i64 = 1 << 53;
                if !(-MOST <= *low && *low <= *high && *high <= MOST) {
                    return Err(format!("a range of whole numbers rises within ±2^53, not {low} to {high}"));
                }
                if *step < 1 {
                    return Err(format!("a step is 1 and more, not {step}"));
                }
                if *log && (*low < 1 || *step != 1) {
                    return Err("a logarithmic range begins with 1 and more and has step 1".into());
                }
                *high = *low + (*high - *low) / *step * *step;
            }
            Self::Choice(words) => {
                if words.is_empty() {
                    return Err("a choice needs at least one word".into());
                }
                for (i, word) in words.iter().enumerate() {
                    if !is_word(word) {
                        return Err(format!("`{word}` is not one word without any of = , ( ) [ ] |"));
                    }
                    if words[..i].contains(word) {
                        return Err(format!("the word `{word}` comes twice"));
                    }
                }
            }
            Self::Flag => {}
        }
        Ok(())
    }

    /// Whether a condition may ask for this word.
    fn has_word(&self, word: &str) -> bool {
        match self {
            Self::Float { .. } => false,
            Self::Int { .. } => word.parse::<i64>().is_ok_and(|v| self.coordinate(&v.into()).is_some()),
            Self::Choice(words) => words.iter().any(|w| w == word),
            Self::Flag => word == "true" || word == "false",
        }
    }

    /// How many values there are, for domains that can be counted.
    pub fn n_values(&self) -> Option<u64> {
        match self {
            Self::Float { low, high, .. } => (low == high).then_some(1),
            Self::Int { low, high, step, .. } => Some(((high - low) / step) as u64 + 1),
            Self::Choice(words) => Some(words.len() as u64),
            Self::Flag => Some(2),
        }
    }

    /// Whether order and distance of the values mean something.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self, Self::Float { .. } | Self::Int { .. })
    }

    /// Where a value lies: the number itself or its logarithm, the position of a word, 0 or 1; absent when it is not
    /// in the domain.
    pub(crate) fn coordinate(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Float { low, high, log } => {
                let v = value.as_f64().filter(|v| (*low..=*high).contains(v))?;
                Some(if *log { v.ln() } else { v })
            }
            Self::Int { low, high, step, log } => {
                let v = value.as_i64().filter(|v| (*low..=*high).contains(v) && (v - low) % step == 0)?;
                Some(if *log { (v as f64).ln() } else { v as f64 })
            }
            Self::Choice(words) => {
                let word = value.as_str()?;
                words.iter().position(|w| w == word).map(|i| i as f64)
            }
            Self::Flag => value.as_bool().map(|v| f64::from(u8::from(v))),
        }
    }

    /// The ends of the axis on which [`Domain::coordinate`] lies. Whole numbers have half a step more on both sides, so
    /// that each owns a stretch of the axis.
    pub(crate) fn axis(&self) -> (f64, f64) {
        match self {
            Self::Float { low, high, log: true } => (low.ln(), high.ln()),
            Self::Float { low, high, .. } => (*low, *high),
            Self::Int { low, high, log: true, .. } => ((*low as f64 - 0.5).ln(), (*high as f64 + 0.5).ln()),
            Self::Int { low, high, step, .. } => {
                let half = *step as f64 / 2.0;
                (*low as f64 - half, *high as f64 + half)
            }
            Self::Choice(words) => (0.0, words.len() as f64),
            Self::Flag => (0.0, 2.0),
        }
    }

    /// The stretch of the axis that a whole number owns.
    pub(crate) fn cell(&self, coordinate: f64) -> Option<(f64, f64)> {
        match self {
            Self::Int { log: true, .. } => {
                let v = coordinate.exp().round();
                Some(((v - 0.5).ln(), (v + 0.5).ln()))
            }
            Self::Int { step, .. } => {
                let half = *step as f64 / 2.0;
                Some((coordinate - half, coordinate + half))
            }
            _ => None,
        }
    }

    /// The value at a place on the axis; places outside give the end.
    pub(crate) fn at(&self, coordinate: f64) -> Value {
        match self {
            Self::Float { low, high, log } => {
                let v = if *log { coordinate.exp() } else { coordinate };
                // A logarithm there and back may step over the end by one digit.
                Value::from(v.clamp(*low, *high))
            }
            Self::Int { low, high, step, log } => {
                let v = if *log { coordinate.exp() } else { coordinate };
                let steps =
                    ((v - *low as f64) / *step as f64).round().clamp(0.0, ((high - low) / step) as f64);
                Value::from(low + steps as i64 * step)
            }
            Self::Choice(words) => {
                let i = (coordinate.max(0.0) as usize).min(words.len() - 1);
                Value::from(words[i].as_str())
            }
            Self::Flag => Value::from(coordinate >= 1.0),
        }
    }

    /// The value at a share (0 to 1) of the axis.
    pub(crate) fn at_unit(&self, share: f64) -> Value {
        let (low, high) = self.axis();
        self.at(low + share * (high - low))
    }

    /// The share of the axis (0 to 1) at which a value lies; for whole numbers and words the middle of their stretch.
    pub(crate) fn unit(&self, value: &Value) -> Option<f64> {
        let (low, high) = self.axis();
        let mid = if self.is_ordered() { 0.0 } else { 0.5 };
        let v = self.coordinate(value)? + mid;
        Some(if high > low { (v - low) / (high - low) } else { 0.5 })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float { low, high, log: false } => write!(f, "float({low},{high})"),
            Self::Float { low, high, log: true } => write!(f, "log({low},{high})"),
            Self::Int { low, high, log: true, .. } => write!(f, "logint({low},{high})"),
            Self::Int { low, high, step: 1, .. } => write!(f, "int({low},{high})"),
            Self::Int { low, high, step, .. } => write!(f, "int({low},{high},{step})"),
            Self::Choice(words) => write!(f, "choice({})", words.join(",")),
            Self::Flag => f.write_str("flag"),
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            match &d.when {
                None => write!(f, "{}={}", d.name, d.domain)?,
                Some(when) => write!(f, "{}[{}={}]={}", d.name, when.on, when.is.join("|"), d.domain)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Domain {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "`{text}` is not one of float(low,high), log(low,high), int(low,high,step), logint(low,high), choice(a,b), flag"
            )
        };
        if text == "flag" {
            return Ok(Self::Flag);
        }
        let (kind, inner) = text.strip_suffix(')').and_then(|t| t.split_once('(')).ok_or_else(form)?;
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        let float =
            |at: usize| parts[at].parse::<f64>().map_err(|_| format!("`{}` is not a number", parts[at]));
        let int = |at: usize| {
            parts[at].parse::<i64>().map_err(|_| format!("`{}` is not a whole number", parts[at]))
        };
        match (kind, parts.len()) {
            ("float", 2) => Ok(Self::Float { low: float(0)?, high: float(1)?, log: false }),
            ("log", 2) => Ok(Self::Float { low: float(0)?, high: float(1)?, log: true }),
            ("int", 2) => Ok(Self::Int { low: int(0)?, high: int(1)?, step: 1, log: false }),
            ("int", 3) => Ok(Self::Int { low: int(0)?, high: int(1)?, step: int(2)?, log: false }),
            ("logint", 2) => Ok(Self::Int { low: int(0)?, high: int(1)?, step: 1, log: true }),
            ("choice", _) => Ok(Self::Choice(parts.iter().map(|p| (*p).to_owned()).collect())),
            _ => Err(form()),
        }
    }
}

/// Cuts at blanks outside of brackets, so that `log(0.1, 1)` may be written with a blank.
fn tokens(text: &str) -> Vec<String> {
    let (mut depth, mut out, mut token) = (0_usize, Vec::new(), String::new());
    for c in text.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if !c.is_whitespace() {
            token.push(c);
        } else if depth == 0 && !token.is_empty() {
            out.push(std::mem::take(&mut token));
        }
    }
    if !token.is_empty() {
        out.push(token);
    }
    out
}

impl FromStr for Space {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let mut dimensions = Vec::new();
        for token in tokens(text) {
            let bad = || {
                Error::Invalid(format!(
                    "search space: `{token}` is not of the form name=range or name[other=value]=range"
                ))
            };
            let (name, when, domain) = match token.find('[').filter(|at| *at < token.find('=').unwrap_or(0)) {
                None => {
                    let (name, domain) = token.split_once('=').ok_or_else(bad)?;
                    (name, None, domain)
                }
                Some(at) => {
                    let (condition, domain) = token[at + 1..].split_once("]=").ok_or_else(bad)?;
                    let (on, is) = condition.split_once('=').ok_or_else(bad)?;
                    let is = is.split('|').map(str::to_owned).collect();
                    (&token[..at], Some(Condition { on: on.to_owned(), is }), domain)
                }
            };
            let domain = domain.parse().map_err(|what: String| fault(name, what))?;
            dimensions.push(Dimension { name: name.to_owned(), domain, when });
        }
        Self::new(dimensions)
    }
}
