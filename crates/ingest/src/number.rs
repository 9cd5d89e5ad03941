//! Numbers as people write them.

use std::borrow::Cow;

/// Which sign stands before the decimals. The other one may part thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DecimalMark {
    /// `1,234.50`
    #[serde(rename = ".")]
    Dot,
    /// `1.234,50` or `1 234,50`
    #[serde(rename = ",")]
    Comma,
}

/// A cell read as a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Parsed {
    /// Nothing, or a word for nothing.
    Null,
    /// A number, and the currency whose sign stood beside it.
    Value(f64, Option<&'static str>),
    /// Anything else.
    Bad,
}

/// Powers of ten that are exact in binary.
const TENS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Digits with an optional sign and point, up to 15 of them: exact, since mantissa and power of ten both are, and
/// their quotient is rounded once.
pub(crate) fn plain(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (mut mantissa, mut decimals, mut point, mut count) = (0_u64, 0_usize, false, 0_usize);
    for &b in digits {
        match b {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(b - b'0');
                decimals += usize::from(point);
                count += 1;
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if count == 0 || count > 15 {
        return None;
    }
    let value = mantissa as f64 / TENS[decimals];
    Some(if negative { -value } else { value })
}

const NOTHING: [&str; 11] = ["", "-", "--", "NA", "N/A", "n/a", "#N/A", "nan", "NaN", "null", "NULL"];

/// Signs and words of money, longest first, with the currency they mean. `¥` means CNY here unless the mapping says
/// otherwise, since the platform's shops write it so.
const MONEY: [(&str, &str); 15] = [
    ("CNY", "CNY"),
    ("RMB", "CNY"),
    ("USD", "USD"),
    ("EUR", "EUR"),
    ("GBP", "GBP"),
    ("JPY", "JPY"),
    ("US$", "USD"),
    ("人民币", "CNY"),
    ("元", "CNY"),
    ("￥", "CNY"),
    ("¥", "CNY"),
    ("$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("￡", "GBP"),
];

/// Reads a cell.
pub(crate) fn parse(text: &str, mark: DecimalMark) -> Parsed {
    if let Some(v) = plain(text.as_bytes())
        && (mark == DecimalMark::Dot || !text.contains('.'))
    {
        return Parsed::Value(v, None);
    }
    let text = text.trim();
    if NOTHING.contains(&text) {
        return Parsed::Null;
    }
    if text.len() > 64 {
        return Parsed::Bad;
    }
    let text = narrow(text);
    let mut rest = text.trim();
    let mut negative = false;
    if let Some(inner) = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')) {
        negative = true;
        rest = inner.trim();
    }
    let mut currency = None;
    let (mut scale, mut percent) = (1.0, false);
    // A sign may stand before or after the money, so both ends are peeled until nothing more comes off.
    loop {
        let before = rest.len();
        for (sign, code) in MONEY {
            if currency.is_none()
                && let Some(r) = rest.strip_prefix(sign).or_else(|| rest.strip_suffix(sign))
            {
                currency = Some(code);
                rest = r.trim();
            }
        }
        if let Some(r) = rest.strip_prefix(['-', '−'])
            && !negative
        {
            negative = true;
            rest = r.trim_start();
        }
        if let Some(r) = rest.strip_suffix('%')
            && !percent
        {
            percent = true;
            rest = r.trim_end();
        }
        if scale == 1.0 {
            for (word, by) in [('万', 1e4), ('亿', 1e8)] {
                if let Some(r) = rest.strip_suffix(word) {
                    scale = by;
                    rest = r.trim_end();
                }
            }
        }
        // `1000+` as listings write it: at least so many.
        if let Some(r) = rest.strip_suffix('+') {
            rest = r;
        }
        if rest.len() == before {
            break;
        }
    }
    let Some(value) = ungrouped(rest, mark) else { return Parsed::Bad };
    let value = if negative { -value } else { value } * scale / if percent { 100.0 } else { 1.0 };
    if value.is_finite() { Parsed::Value(value, currency) } else { Parsed::Bad }
}

/// A number with its thousands parted or not.
fn ungrouped(text: &str, mark: DecimalMark) -> Option<f64> {
    let (point, part) = match mark {
        DecimalMark::Dot => ('.', ','),
        DecimalMark::Comma => (',', '.'),
    };
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == point || c == '+') {
        return None;
    }
    let (whole, decimals) = match text.split_once(point) {
        Some((w, d)) => (w, Some(d)),
        None => (text, None),
    };
    let mut digits = String::with_capacity(text.len());
    let is_part = |c: char| c == part || c == ' ' || c == '\u{a0}' || c == '\u{202f}' || c == '\'';
    if whole.contains(is_part) {
        for (i, group) in whole.split(is_part).enumerate() {
            let right = if i == 0 { (1..=3).contains(&group.len()) } else { group.len() == 3 };
            if !right || !group.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            digits += group;
        }
    } else {
        digits += whole;
    }
    if let Some(d) = decimals {
        digits.push('.');
        digits += d;
    }
    if let Some(v) = plain(digits.as_bytes()) {
        return Some(v);
    }
    // Exponents and long numbers; words such as `inf` never begin with a digit.
    digits.parse::<f64>().ok().filter(|v| v.is_finite())
}

/// Full-width digits and signs as their plain forms.
fn narrow(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .map(|c| match c {
                '０'..='９' | '．' | '，' | '－' | '＋' | '％' | '（' | '）' | '＄' => {
                    char::from_u32(c as u32 - 0xfee0).unwrap_or(c)
                }
                '\u{3000}' => ' ',
                _ => c,
            })
            .collect(),
    )
}

/// The decimal mark of a column, from some of its values. `1,234` alone says nothing and is read as a thousand; one
/// `12,5` or `1.234,50` settles the comma for the whole column.
pub(crate) fn mark_of<'a>(values: impl Iterator<Item = &'a str>) -> DecimalMark {
    let (mut comma, mut dot) = (0_usize, 0_usize);
    for text in values {
        let text = narrow(text);
        if !text.contains(',') {
            continue;
        }
        let is_number_char = |c: char| c.is_ascii_digit() || c == ',' || c == '.';
        let core: &str = text.trim_matches(|c: char| !is_number_char(c));
        if core.contains(|c: char| !is_number_char(c) && c != ' ' && c != '\u{a0}' && c != '\u{202f}') {
            continue;
        }
        let (last_comma, last_dot) = (core.rfind(','), core.rfind('.'));
        match (last_comma, last_dot) {
            (Some(c), Some(d)) if c > d => comma += 1,
            (Some(_), Some(_)) => dot += 1,
            (Some(c), None) => {
                let once = core.matches(',').count() == 1;
                if !once {
                    dot += 1;
                } else if core.len() - c - 1 != 3 || c > 3 || c == 0 || core.starts_with("0,") {
                    comma += 1;
                }
            }
            _ => {}
        }
    }
    if comma > dot { DecimalMark::Comma } else { DecimalMark::Dot }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_as_people_write_them() {
        use DecimalMark::{Comma, Dot};
        for (text, mark, want) in [
            ("12", Dot, Some((12.0, None))),
            ("-0.5", Dot, Some((-0.5, None))),
            ("1,234,567.89", Dot, Some((1_234_567.89, None))),
            ("1.234,5", Comma, Some((1234.5, None))),
            ("1.234", Comma, Some((1234.0, None))),
            ("1 234,5", Comma, Some((1234.5, None))),
            ("￥258.00", Dot, Some((258.0, Some("CNY")))),
            ("-$12.50", Dot, Some((-12.5, Some("USD")))),
            ("$-12.50", Dot, Some((-12.5, Some("USD")))),
            ("12,50 €", Comma, Some((12.5, Some("EUR")))),
            ("£1,000", Dot, Some((1000.0, Some("GBP")))),
            ("99元", Dot, Some((99.0, Some("CNY")))),
            ("15%", Dot, Some((0.15, None))),
            ("（１２．５）", Dot, Some((-12.5, None))),
            ("(12.50)", Dot, Some((-12.5, None))),
            ("1.2万+", Dot, Some((12_000.0, None))),
            ("1e3", Dot, Some((1000.0, None))),
            ("12345678901234567890", Dot, Some((12_345_678_901_234_567_890.0, None))),
            ("1,23", Dot, None),
            ("12a", Dot, None),
            ("inf", Dot, None),
            ("1e999", Dot, None),
            ("1.2.3", Dot, None),
            ("--5", Dot, None),
            ("++", Dot, None),
            (".", Dot, None),
        ] {
            let want = want.map_or(Parsed::Bad, |(v, c)| Parsed::Value(v, c));
            assert_eq!(parse(text, mark), want, "{text}");
        }
        assert_eq!(parse("N/A", Dot), Parsed::Null);
    }

    #[test]
    fn the_column_decides_the_mark() {
        assert_eq!(mark_of(["1,234", "5,678"].into_iter()), DecimalMark::Dot);
        assert_eq!(mark_of(["1,234", "12,5"].into_iter()), DecimalMark::Comma);
        assert_eq!(mark_of(["1.234,50 €"].into_iter()), DecimalMark::Comma);
        assert_eq!(mark_of(["1,234,567"].into_iter()), DecimalMark::Dot);
        assert_eq!(mark_of(["0,125"].into_iter()), DecimalMark::Comma);
        assert_eq!(mark_of(["12.5"].into_iter()), DecimalMark::Dot);
    }

    proptest! {
        #[test]
        fn the_fast_way_is_the_exact_way(whole in 0_u64..10_000_000_000, decimals in "[0-9]{0,5}", negative: bool) {
            let text = format!("{}{whole}.{decimals}", if negative { "-" } else { "" });
            prop_assert_eq!(plain(text.as_bytes()).map(f64::to_bits), text.parse::<f64>().ok().map(f64::to_bits));
        }

        #[test]
        fn nothing_panics(text in "[-0-9.,%+()元￥$万 a-e（）]{0,12}") {
            for mark in [DecimalMark::Dot, DecimalMark::Comma] {
                if let Parsed::Value(v, _) = parse(&text, mark) {
                    prop_assert!(v.is_finite());
                }
            }
            mark_of([text.as_str()].into_iter());
        }
    }
}
