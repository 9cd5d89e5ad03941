//! Texts as hashed words, with a hook for a better cutter.

use crate::frame::{Column, MISSING};
use crate::prepare::fitted::Part;
use serde::{Deserialize, Serialize};

/// How a text is cut into what is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokens {
    /// Words in small letters, cut where letters and digits end; of Chinese, Japanese and Korean every character and
    /// every pair of neighbours.
    #[default]
    Words,
    /// What the [`TextHook`] gives; the caller passes the same one when fitting and afterwards.
    Own,
}

/// A cutter of the caller's: gives the hashes of the tokens of a text.
pub type TextHook<'a> = &'a (dyn Fn(&str) -> Vec<u64> + Sync);

/// A hash that is the same on every machine and in every version: FNV-1a of 64 bits, with its bits mixed at the end.
///
/// ```
/// assert_eq!(tradewind_learn::prepare::stable_hash("tea"), tradewind_learn::prepare::stable_hash("tea"));
/// ```
pub fn stable_hash(text: &str) -> u64 {
    let mut h = 0xCBF2_9CE4_8422_2325_u64;
    for byte in text.bytes() {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
    // The end mix of MurmurHash3: FNV's low bits alone are too regular for a remainder.
    h = (h ^ (h >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h = (h ^ (h >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 33)
}

/// The column of a hash, and its sign.
pub(super) fn place(hash: u64, columns: usize) -> (usize, f64) {
    ((hash % columns.max(1) as u64) as usize, if hash >> 63 == 0 { 1.0 } else { -1.0 })
}

/// Ideographs, kana and hangul, which stand without spaces.
fn is_dense(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

pub(super) fn hashes(text: &str) -> Vec<u64> {
    let mut out = Vec::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    let close = |word: &mut String, out: &mut Vec<u64>| {
        if !word.is_empty() {
            out.push(stable_hash(word));
            word.clear();
        }
    };
    for c in text.chars() {
        if is_dense(c) {
            close(&mut word, &mut out);
            out.push(stable_hash(c.encode_utf8(&mut [0; 4])));
            if let Some(b) = before {
                out.push(stable_hash(&format!("{b}{c}")));
            }
            before = Some(c);
            continue;
        }
        before = None;
        match c.is_alphanumeric() {
            true => word.extend(c.to_lowercase()),
            false => close(&mut word, &mut out),
        }
    }
    close(&mut word, &mut out);
    out
}

/// The hashed columns; a missing text is 0 in all.
pub(super) fn parts_of(name: &str, column: &Column, columns: usize, cut: TextHook<'_>) -> Vec<Part> {
    let Column::Text(texts) = column else { return Vec::new() };
    // Each distinct text is cut once.
    let of_word: Vec<Vec<(usize, f64)>> = texts
        .words()
        .iter()
        .map(|text| {
            let mut row: std::collections::BTreeMap<usize, f64> = std::collections::BTreeMap::new();
            for hash in cut(text) {
                let (j, sign) = place(hash, columns);
                *row.entry(j).or_default() += sign;
            }
            let length = row.values().map(|v| v * v).sum::<f64>().sqrt();
            row.into_iter().map(|(j, v)| (j, if length > 0.0 { v / length } else { 0.0 })).collect()
        })
        .collect();
    let mut values = vec![vec![0.0; column.len()]; columns];
    for (i, code) in texts.codes().iter().enumerate().filter(|(_, c)| **c != MISSING) {
        for (j, v) in &of_word[*code as usize] {
            values[*j][i] = *v;
        }
    }
    values.into_iter().enumerate().map(|(j, v)| Part::number(format!("{name}#{j}"), v)).collect()
}
