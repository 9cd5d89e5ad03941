//! Long columns of numbers inside saved state: base64 of little-endian words, as one text.
//!
//! JSON writes a number a digit at a time; a factor matrix of a million numbers would take ten times the place and
//! lose what is not finite. For use as `#[serde(with = "tradewind_core::packed")]` on a `Vec` of numbers.
//!
//! ```
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Kept(#[serde(with = "tradewind_core::packed")] Vec<f32>);
//! let text = serde_json::to_string(&Kept(vec![1.0, f32::INFINITY])).unwrap();
//! assert_eq!(text, "\"AACAPwAAgH8=\"");
//! assert_eq!(serde_json::from_str::<Kept>(&text).unwrap().0, [1.0, f32::INFINITY]);
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// A number that is packed.
pub trait Word: Copy {
    /// Bytes of one.
    const BYTES: usize;
    /// Appends its bytes.
    fn put(self, to: &mut Vec<u8>);
    /// Reads it from as many bytes as it has; `None` where they are no such number here.
    fn get(from: &[u8]) -> Option<Self>;
}

macro_rules! word {
    ($($t:ty),*) => {$(
        impl Word for $t {
            const BYTES: usize = size_of::<$t>();
            fn put(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
            fn get(from: &[u8]) -> Option<Self> {
                from.try_into().ok().map(<$t>::from_le_bytes)
            }
        }
    )*};
}

word!(u8, u32, i64, f32);

/// As 64 bits, whatever the machine.
impl Word for usize {
    const BYTES: usize = 8;
    fn put(self, to: &mut Vec<u8>) {
        to.extend_from_slice(&(self as u64).to_le_bytes());
    }
    fn get(from: &[u8]) -> Option<Self> {
        from.try_into().ok().map(u64::from_le_bytes).and_then(|v| v.try_into().ok())
    }
}

/// Writes a column as one text.
pub fn serialize<T: Word, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(values.len() * T::BYTES);
    values.iter().for_each(|v| v.put(&mut bytes));
    to.serialize_str(&STANDARD.encode(bytes))
}

/// Reads back what [`serialize`] wrote.
pub fn deserialize<'de, T: Word, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    let bytes = STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)?;
    if bytes.len() % T::BYTES != 0 {
        return Err(D::Error::custom(format!("{} bytes are not whole numbers of {}", bytes.len(), T::BYTES)));
    }
    bytes
        .chunks_exact(T::BYTES)
        .map(|b| T::get(b).ok_or_else(|| D::Error::custom("a number too large for this machine")))
        .collect()
}
