//! The profile of one column.

use super::{Distinct, Frequent, Moments, ProfileSettings, Quantiles, ValueKind, hashed, mixed};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// What is known of one column after a pass over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Rows seen.
    pub rows: u64,
    /// Rows without a value: null, and NaN in a column of numbers.
    pub missing: u64,
    /// Rows whose value is not of the column's kind, as a text in a column of numbers.
    pub faults: u64,
    /// How many different values there are.
    pub distinct: Distinct,
    /// The values by kind.
    pub values: Values,
}

/// The values of a column by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Values {
    /// Numbers; times are numbers of seconds since 1970.
    Number {
        /// Infinite ones; they are in nothing else.
        infinite: u64,
        /// Zeros.
        zeros: u64,
        /// Those below zero.
        negatives: u64,
        /// Mean, variance, least and largest.
        moments: Moments,
        /// Quantiles.
        quantiles: Quantiles,
    },
    /// Names.
    Category {
        /// Empty texts.
        empty: u64,
        /// The most frequent values.
        frequent: Frequent,
    },
}

impl Column {
    /// A column without rows.
    ///
    /// # Errors
    /// Sizes of sketches outside their range.
    pub fn new(name: &str, kind: ValueKind, settings: &ProfileSettings) -> Result<Self> {
        let values = match kind {
            ValueKind::Number => Values::Number {
                infinite: 0,
                zeros: 0,
                negatives: 0,
                moments: Moments::default(),
                quantiles: Quantiles::new(settings.quantile_size)?,
            },
            ValueKind::Category => {
                Values::Category { empty: 0, frequent: Frequent::new(settings.frequent_room)? }
            }
        };
        let distinct = Distinct::default();
        Ok(Self { name: name.to_owned(), rows: 0, missing: 0, faults: 0, distinct, values })
    }

    /// What its values are.
    pub fn kind(&self) -> ValueKind {
        match self.values {
            Values::Number { .. } => ValueKind::Number,
            Values::Category { .. } => ValueKind::Category,
        }
    }

    /// Rows with a value of the column's kind, infinite ones included.
    pub fn present(&self) -> u64 {
        self.rows - self.missing - self.faults
    }

    /// The share of rows without a value; NaN without rows.
    pub fn missing_share(&self) -> f64 {
        self.missing as f64 / self.rows as f64
    }

    /// Takes rows of numbers in; NaN is a missing one. In a column of names each is named by its shortest decimal form.
    pub fn push_numbers(&mut self, numbers: &[f64]) {
        let mut finite = [0.0_f64; 1024];
        for part in numbers.chunks(finite.len()) {
            self.rows += part.len() as u64;
            match &mut self.values {
                Values::Number { infinite, zeros, negatives, moments, quantiles } => {
                    let mut n = 0;
                    for value in part {
                        if value.is_finite() {
                            finite[n] = *value;
                            n += 1;
                        } else if value.is_nan() {
                            self.missing += 1;
                        } else {
                            *infinite += 1;
                        }
                    }
                    let finite = &finite[..n];
                    for value in finite {
                        *zeros += u64::from(*value == 0.0);
                        *negatives += u64::from(*value < 0.0);
                        // Minus zero is zero.
                        self.distinct.push_hash(mixed((value + 0.0).to_bits()));
                    }
                    moments.extend(finite);
                    quantiles.extend(finite.iter().copied());
                }
                Values::Category { frequent, .. } => {
                    for value in part {
                        if value.is_nan() {
                            self.missing += 1;
                        } else {
                            let name = value.to_string();
                            self.distinct.push(name.as_bytes());
                            frequent.push(&name, 1);
                        }
                    }
                }
            }
        }
    }

    /// Takes one row of text in; nothing is a missing one. In a column of numbers a text that is no number is a fault.
    pub fn push_text(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            self.push_missing(1);
            return;
        };
        match &mut self.values {
            Values::Category { empty, frequent } => {
                self.rows += 1;
                *empty += u64::from(text.is_empty());
                self.distinct.push_hash(hashed(text.as_bytes()));
                frequent.push(text, 1);
            }
            Values::Number { .. } => match text.trim().parse::<f64>() {
                Ok(number) => self.push_numbers(&[number]),
                Err(_) => self.push_fault(1),
            },
        }
    }

    /// Takes rows in that have one name, as those of a dictionary.
    pub fn push_named(&mut self, name: &str, times: u64) {
        match &mut self.values {
            Values::Category { empty, frequent } => {
                self.rows += times;
                *empty += if name.is_empty() { times } else { 0 };
                if times > 0 {
                    self.distinct.push_hash(hashed(name.as_bytes()));
                    frequent.push(name, times);
                }
            }
            Values::Number { .. } => (0..times).for_each(|_| self.push_text(Some(name))),
        }
    }

    /// Takes rows without a value in.
    pub fn push_missing(&mut self, times: u64) {
        self.rows += times;
        self.missing += times;
    }

    /// Takes rows in whose value is not of the column's kind.
    pub fn push_fault(&mut self, times: u64) {
        self.rows += times;
        self.faults += times;
    }

    /// Adds what another profile of the same column saw.
    ///
    /// # Errors
    /// Another name or kind.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.name != other.name || self.kind() != other.kind() {
            return Err(super::wrong(
                format!(
                    "a profile of the column {} ({}) and one of {} ({})",
                    self.name,
                    self.kind().name(),
                    other.name,
                    other.kind().name()
                ),
                "merge profiles that were made with the same columns",
            ));
        }
        self.rows += other.rows;
        self.missing += other.missing;
        self.faults += other.faults;
        self.distinct.merge(&other.distinct);
        match (&mut self.values, &other.values) {
            (
                Values::Number { infinite, zeros, negatives, moments, quantiles },
                Values::Number { infinite: i, zeros: z, negatives: n, moments: m, quantiles: q },
            ) => {
                *infinite += i;
                *zeros += z;
                *negatives += n;
                moments.merge(m);
                quantiles.merge(q);
            }
            (Values::Category { empty, frequent }, Values::Category { empty: e, frequent: f }) => {
                *empty += e;
                frequent.merge(f);
            }
            _ => unreachable!("kinds were compared"),
        }
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        let Some(present) = self.missing.checked_add(self.faults).and_then(|out| self.rows.checked_sub(out))
        else {
            return false;
        };
        match &self.values {
            Values::Number { infinite, moments, quantiles, .. } => {
                moments.is_whole()
                    && quantiles.is_whole()
                    && moments.n == quantiles.n()
                    && infinite.checked_add(moments.n) == Some(present)
            }
            Values::Category { frequent, .. } => frequent.is_whole() && frequent.n() == present,
        }
    }
}
