//! What is known about items or users beside what happened: words, categories, numbers, vectors.

use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::sparse::SparseRows;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Vectors of named things, as a model of texts or pictures gives them.
///
/// Invariant: `values` holds `width` finite numbers for each name.
///
/// ```
/// use tradewind_core::Embeddings;
/// let of_pictures = Embeddings::new([("tea", vec![1.0, 0.0]), ("cup", vec![0.6, 0.8])]).unwrap();
/// assert_eq!(of_pictures.find("cup"), Some(&[0.6, 0.8][..]));
/// assert!(Embeddings::new([("tea", vec![1.0]), ("cup", vec![])]).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawEmbeddings")]
pub struct Embeddings {
    names: Ids,
    width: usize,
    #[serde(with = "crate::packed")]
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct RawEmbeddings {
    names: Ids,
    width: usize,
    #[serde(with = "crate::packed")]
    values: Vec<f32>,
}

impl TryFrom<RawEmbeddings> for Embeddings {
    type Error = Error;

    fn try_from(raw: RawEmbeddings) -> Result<Self> {
        let RawEmbeddings { names, width, values } = raw;
        if names.len().checked_mul(width) != Some(values.len()) || values.iter().any(|v| !v.is_finite()) {
            return Err(Error::Invalid("saved vectors do not fit their names".into()));
        }
        Ok(Self { names, width, values })
    }
}

impl Embeddings {
    /// From names and vectors of one length; a later vector of the same name takes the place of the earlier.
    pub fn new<N: AsRef<str>, V: AsRef<[f32]>>(rows: impl IntoIterator<Item = (N, V)>) -> Result<Self> {
        let mut out = Self::default();
        for (name, vector) in rows {
            let (name, vector) = (name.as_ref(), vector.as_ref());
            if out.names.is_empty() {
                out.width = vector.len();
            }
            if vector.len() != out.width || vector.iter().any(|v| !v.is_finite()) {
                return Err(Error::Invalid(format!(
                    "the vector of `{name}` has {} numbers where others have {}, or one that is not finite",
                    vector.len(),
                    out.width
                )));
            }
            out.put(name, vector);
        }
        Ok(out)
    }

    fn put(&mut self, name: &str, vector: &[f32]) {
        let at = self.names.insert(name) as usize * self.width;
        if at == self.values.len() {
            self.values.extend_from_slice(vector);
        } else {
            self.values[at..at + self.width].copy_from_slice(vector);
        }
    }

    /// The names.
    pub fn names(&self) -> &Ids {
        &self.names
    }

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The vector at a position. Panics, as a slice would, when there is none.
    pub fn vector(&self, idx: u32) -> &[f32] {
        &self.values[idx as usize * self.width..(idx as usize + 1) * self.width]
    }

    /// The vector of a name.
    pub fn find(&self, name: &str) -> Option<&[f32]> {
        self.names.find(name).map(|i| self.vector(i))
    }
}

/// Terms, numbers and vectors of items or of users.
///
/// A term is text with its kind before it, as `category=Shoes`, `brand=Acme`, `word=red`, so that a reason can name it;
/// it has a weight above zero, as the number of times a word occurs. A number is a column with a name, as `price`; it
/// is not a number where it is not known.
///
/// Invariant: `rows` has one row a name and one column a term; every column of `numbers` has one value a name.
///
/// ```
/// use tradewind_core::Attributes;
/// let rows = [("tea", "category=Drinks", 1.0), ("tea", "word=green", 2.0), ("cup", "category=Dishes", 1.0)];
/// let items = Attributes::build(rows).unwrap().with_number("price", |name| if name == "tea" { 3.5 } else { f32::NAN });
/// assert_eq!(items.find("tea").map(|i| items.terms_of(i).count()), Some(2));
/// assert_eq!((items.number("price", 0), items.number("price", 1)), (None, Some(3.5)));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "RawAttributes")]
pub struct Attributes {
    names: Ids,
    terms: Ids,
    rows: SparseRows,
    #[serde(serialize_with = "packed_columns")]
    numbers: BTreeMap<String, Vec<f32>>,
    vectors: Option<Embeddings>,
}

/// A column as it is saved.
#[derive(Serialize, Deserialize)]
struct Column(#[serde(with = "crate::packed")] Vec<f32>);

fn packed_columns<S: serde::Serializer>(
    numbers: &BTreeMap<String, Vec<f32>>,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.collect_map(numbers.iter().map(|(name, values)| (name, Column(values.clone()))))
}

#[derive(Deserialize)]
struct RawAttributes {
    names: Ids,
    terms: Ids,
    rows: SparseRows,
    #[serde(default)]
    numbers: BTreeMap<String, Column>,
    #[serde(default)]
    vectors: Option<Embeddings>,
}

impl TryFrom<RawAttributes> for Attributes {
    type Error = Error;

    fn try_from(raw: RawAttributes) -> Result<Self> {
        let RawAttributes { names, terms, rows, numbers, vectors } = raw;
        let fits = rows.n_rows() == names.len()
            && rows.n_columns() == terms.len()
            && (0..rows.n_rows()).all(|r| rows.row(r).1.iter().all(|w| weight_fits(*w)))
            && numbers.values().all(|c| c.0.len() == names.len());
        if !fits {
            return Err(Error::Invalid("saved attributes have parts that do not fit together".into()));
        }
        let numbers = numbers.into_iter().map(|(name, column)| (name, column.0)).collect();
        Ok(Self { names, terms, rows, numbers, vectors })
    }
}

/// Numbers that are not known are equal to one another.
impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        let bits = |a: &Self| -> Vec<(String, Vec<u32>)> {
            a.numbers.iter().map(|(n, c)| (n.clone(), c.iter().map(|v| v.to_bits()).collect())).collect()
        };
        self.names == other.names
            && self.terms == other.terms
            && self.rows == other.rows
            && self.vectors == other.vectors
            && bits(self) == bits(other)
    }
}

/// The largest weight of a term.
const WEIGHT_MAX: f32 = 1e6;

fn weight_fits(weight: f32) -> bool {
    weight > 0.0 && weight <= WEIGHT_MAX
}

impl Attributes {
    /// From name, term and weight, in any order; weights of one term of one name add up. A weight that is not above 0
    /// and at most a million, or an empty name or term, is an error that names the row.
    pub fn build<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str, f32)>) -> Result<Self> {
        let (mut names, mut terms, mut entries) = (Ids::new(), Ids::new(), Vec::new());
        for (i, (name, term, weight)) in rows.into_iter().enumerate() {
            if !weight_fits(weight) || name.is_empty() || term.is_empty() {
                return Err(Error::Invalid(format!(
                    "attribute {}: `{name}` has `{term}` with weight {weight}; names and terms must not be empty, \
                     weights lie above 0 and at most at 1e6",
                    i + 1
                )));
            }
            entries.push((names.insert(name), terms.insert(term), weight));
        }
        let ((names, name_place), (terms, term_place)) = (names.sorted(), terms.sorted());
        for (name, term, _) in &mut entries {
            (*name, *term) = (name_place[*name as usize], term_place[*term as usize]);
        }
        // By weight too, so that sums do not depend on the order of rows.
        entries.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut rows = SparseRows::from_entries(names.len(), terms.len(), entries);
        rows.values_mut().iter_mut().for_each(|w| *w = w.min(WEIGHT_MAX));
        Ok(Self { names, terms, rows, ..Self::default() })
    }

    /// The same with a column of numbers, asked for by name; what is not finite is not known.
    pub fn with_number(mut self, column: &str, of: impl Fn(&str) -> f32) -> Self {
        let values =
            self.names.iter().map(|name| Some(of(name)).filter(|v| v.is_finite()).unwrap_or(f32::NAN));
        let values = values.collect();
        self.numbers.insert(column.to_owned(), values);
        self
    }

    /// The same with vectors; names that have nothing but a vector come in.
    pub fn with_vectors(mut self, vectors: Embeddings) -> Self {
        vectors.names().iter().for_each(|name| self.insert(name));
        self.vectors = Some(vectors);
        self
    }

    /// A name without terms, when it is new.
    fn insert(&mut self, name: &str) {
        if self.names.insert(name) as usize == self.rows.n_rows() {
            self.rows.push([]);
            self.numbers.values_mut().for_each(|c| c.push(f32::NAN));
        }
    }

    /// The names.
    pub fn names(&self) -> &Ids {
        &self.names
    }

    /// The terms.
    pub fn terms(&self) -> &Ids {
        &self.terms
    }

    /// Names × terms, with the weights.
    pub fn rows(&self) -> &SparseRows {
        &self.rows
    }

    /// The vectors.
    pub fn vectors(&self) -> Option<&Embeddings> {
        self.vectors.as_ref()
    }

    /// The names of the columns of numbers.
    pub fn numbers(&self) -> impl Iterator<Item = &str> + '_ {
        self.numbers.keys().map(String::as_str)
    }

    /// A number of the name at a position, where it is known.
    pub fn number(&self, column: &str, idx: u32) -> Option<f32> {
        self.numbers.get(column)?.get(idx as usize).copied().filter(|v| !v.is_nan())
    }

    /// The position of a name.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    /// The terms of the name at a position, with their weights. Panics, as a slice would, when there is none.
    pub fn terms_of(&self, idx: u32) -> impl Iterator<Item = (&str, f32)> + '_ {
        let (columns, weights) = self.rows.row(idx as usize);
        columns.iter().zip(weights).map(|(c, w)| (self.terms.name(*c), *w))
    }

    /// The rows in the order of `ids`; names without attributes get empty rows.
    pub fn aligned(&self, ids: &Ids) -> SparseRows {
        let mut out = SparseRows::with_capacity(self.terms.len(), ids.len(), self.rows.n_values());
        for name in ids.iter() {
            let (columns, weights) =
                self.find(name).map_or((&[][..], &[][..]), |i| self.rows.row(i as usize));
            out.push(columns.iter().copied().zip(weights.iter().copied()));
        }
        out
    }

    /// Takes in newer attributes: a name that comes again has its terms and its vector replaced, and of its numbers
    /// those that are known now. Vectors of another width are an error.
    pub fn append(&mut self, newer: &Self) -> Result<()> {
        if let (Some(own), Some(other)) = (&self.vectors, &newer.vectors)
            && own.width != other.width
        {
            return Err(Error::Invalid(format!(
                "newer vectors have {} numbers, those known {}",
                other.width, own.width
            )));
        }
        let terms: Vec<u32> = newer.terms.iter().map(|t| self.terms.insert(t)).collect();
        let mut rows = SparseRows::with_capacity(self.terms.len(), self.names.len(), self.rows.n_values());
        let before = self.names.len();
        newer.names.iter().for_each(|name| {
            self.names.insert(name);
        });
        for (i, name) in self.names.iter().enumerate() {
            match newer.find(name) {
                Some(n) => {
                    let (columns, weights) = newer.rows.row(n as usize);
                    let mut row: Vec<(u32, f32)> =
                        columns.iter().map(|c| terms[*c as usize]).zip(weights.iter().copied()).collect();
                    row.sort_by_key(|e| e.0);
                    rows.push(row);
                }
                None => {
                    let (columns, weights) = self.rows.row(i);
                    rows.push(columns.iter().copied().zip(weights.iter().copied()));
                }
            }
        }
        self.rows = rows;
        for column in newer.numbers.keys() {
            self.numbers.entry(column.clone()).or_insert_with(|| vec![f32::NAN; before]);
        }
        for (column, values) in &mut self.numbers {
            values.resize(self.names.len(), f32::NAN);
            for (n, name) in newer.names.iter().enumerate() {
                if let (Some(value), Some(i)) = (newer.number(column, n as u32), self.names.find(name)) {
                    values[i as usize] = value;
                }
            }
        }
        match (&mut self.vectors, &newer.vectors) {
            (Some(own), Some(other)) => {
                other.names.iter().enumerate().for_each(|(n, name)| own.put(name, other.vector(n as u32)));
            }
            (own @ None, Some(other)) => *own = Some(other.clone()),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Attributes {
        let rows =
            [("b", "word=red", 1.0), ("a", "word=blue", 2.0), ("a", "brand=x", 1.0), ("a", "word=blue", 1.0)];
        let vectors = Embeddings::new([("c", [1.0, 2.0])]).expect("two numbers");
        let out = Attributes::build(rows)
            .expect("good rows")
            .with_number("price", |n| if n == "a" { 3.0 } else { f32::NAN });
        out.with_vectors(vectors)
    }

    #[test]
    fn order_of_rows_does_not_matter_and_weights_add_up() {
        let turned =
            [("a", "word=blue", 1.0), ("a", "word=blue", 2.0), ("a", "brand=x", 1.0), ("b", "word=red", 1.0)];
        let turned = Attributes::build(turned).expect("good rows");
        assert_eq!(turned.terms_of(0).collect::<Vec<_>>(), [("brand=x", 1.0), ("word=blue", 3.0)]);
        assert_eq!((turned.rows(), turned.names().name(0)), (&shop().aligned(turned.names()), "a"));
    }

    #[test]
    fn bad_rows_are_named() {
        for row in [("a", "t", 0.0), ("a", "t", f32::NAN), ("a", "t", 2e6), ("", "t", 1.0), ("a", "", 1.0)] {
            let error = Attributes::build([("a", "t", 1.0), row]).expect_err("a bad row");
            assert!(error.to_string().contains("attribute 2"), "{error}");
        }
        assert!(Embeddings::new([("a", [f32::NAN])]).is_err());
    }

    #[test]
    fn saved_attributes_come_back_and_spoilt_ones_do_not() {
        let state = serde_json::to_value(shop()).expect("plain values");
        assert_eq!(serde_json::from_value::<Attributes>(state.clone()).expect("as saved"), shop());
        let mut spoilt = state;
        spoilt["names"] = serde_json::json!(["a", "b"]);
        assert!(serde_json::from_value::<Attributes>(spoilt).is_err());
    }

    #[test]
    fn newer_attributes_replace_what_they_name() {
        let mut known = shop();
        let rows = [("a", "brand=z", 1.0), ("d", "word=red", 4.0)];
        let newer = Attributes::build(rows)
            .expect("good rows")
            .with_number("age", |n| if n == "d" { 7.0 } else { f32::NAN });
        let newer = newer.with_vectors(Embeddings::new([("c", [5.0, 6.0])]).expect("two numbers"));
        known.append(&newer).expect("of one width");
        let of = |name: &str| -> Vec<(String, f32)> {
            let at = known.find(name).expect("a known name");
            known.terms_of(at).map(|(t, w)| (t.to_owned(), w)).collect()
        };
        assert_eq!(of("a"), [("brand=z".to_owned(), 1.0)]);
        assert_eq!(
            (of("b"), of("d")),
            (vec![("word=red".to_owned(), 1.0)], vec![("word=red".to_owned(), 4.0)])
        );
        let place = |name: &str| known.find(name).expect("a known name");
        assert_eq!(
            (known.number("price", place("a")), known.number("age", place("d"))),
            (Some(3.0), Some(7.0))
        );
        assert_eq!((known.number("price", place("d")), known.number("age", place("a"))), (None, None));
        assert_eq!(known.vectors().and_then(|v| v.find("c")), Some(&[5.0, 6.0][..]));
        let other = Attributes::default().with_vectors(Embeddings::new([("c", [1.0])]).expect("one number"));
        assert!(known.append(&other).is_err());
    }
}
