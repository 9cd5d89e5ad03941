//! Bytes of some encoding in, UTF-8 out, piece by piece.
//!
//! The encoding is settled by a byte-order mark or by the first piece that holds anything beyond ASCII, wherever in
//! the file that is: a file whose first Chinese title stands in line 100,000 is read rightly.

use encoding_rs::{CoderResult, Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use std::io::Read;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 18;

enum State {
    /// Only ASCII so far.
    Open,
    /// UTF-8: handed through unchanged, so that broken bytes stay visible to whoever cuts the rows.
    Utf8,
    /// Anything else.
    Other(Box<encoding_rs::Decoder>),
}

/// A reader that gives UTF-8.
pub(crate) struct Decoder {
    inner: Box<dyn Read + Send>,
    state: State,
    chunk: Vec<u8>,
    first: bool,
    done: bool,
    encoding: &'static Encoding,
}

impl Decoder {
    /// Reads `inner`; `forced` overrides the detection.
    pub(crate) fn new(inner: Box<dyn Read + Send>, forced: Option<&'static Encoding>) -> Self {
        let state = match forced {
            None => State::Open,
            Some(e) if e == UTF_8 => State::Utf8,
            Some(e) => State::Other(Box::new(e.new_decoder_with_bom_removal())),
        };
        let encoding = forced.unwrap_or(UTF_8);
        Self { inner, state, chunk: vec![0; CHUNK_BYTES], first: true, done: false, encoding }
    }

    /// The encoding found so far; UTF-8 for pure ASCII.
    pub(crate) fn encoding(&self) -> &'static str {
        self.encoding.name()
    }

    /// Appends the next piece to `out`; false when there is no more.
    pub(crate) fn more(&mut self, out: &mut Vec<u8>) -> std::io::Result<bool> {
        if self.done {
            return Ok(false);
        }
        let mut n = 0;
        while n < self.chunk.len() {
            match self.inner.read(&mut self.chunk[n..]) {
                Ok(0) => break,
                Ok(k) => n += k,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.done = n < self.chunk.len();
        let mut piece = &self.chunk[..n];
        if std::mem::take(&mut self.first)
            && let Some((encoding, mark)) = Encoding::for_bom(piece)
        {
            piece = &piece[mark..];
            self.encoding = encoding;
            self.state = if encoding == UTF_8 {
                State::Utf8
            } else {
                State::Other(Box::new(encoding.new_decoder_without_bom_handling()))
            };
        }
        if matches!(self.state, State::Open) && !piece.is_ascii() {
            self.encoding = detect(piece);
            self.state = if self.encoding == UTF_8 {
                State::Utf8
            } else {
                State::Other(Box::new(self.encoding.new_decoder_without_bom_handling()))
            };
        }
        match &mut self.state {
            State::Open | State::Utf8 => out.extend_from_slice(piece),
            State::Other(decoder) => {
                let room = decoder.max_utf8_buffer_length(piece.len()).unwrap_or(piece.len() * 4 + 16);
                let mut text = String::with_capacity(room);
                let mut rest = piece;
                loop {
                    let (result, read, _) = decoder.decode_to_string(rest, &mut text, self.done);
                    rest = &rest[read..];
                    match result {
                        CoderResult::InputEmpty => break,
                        CoderResult::OutputFull => text.reserve(rest.len() + 64),
                    }
                }
                out.extend_from_slice(text.as_bytes());
            }
        }
        Ok(!self.done || n > 0)
    }
}

/// The encoding of a piece that is not pure ASCII.
pub(crate) fn detect(piece: &[u8]) -> &'static Encoding {
    if mostly_utf8(piece) {
        return UTF_8;
    }
    // Common Chinese characters fill lead bytes B0 to D7 with trail bytes from A1; Latin text hardly ever has two such
    // bytes in a row, so this tells GB18030 apart on a few words, where frequency models need a page.
    let (mut high, mut common, mut at) = (0_usize, 0_usize, 0);
    while at < piece.len() {
        if piece[at] < 0x80 {
            at += 1;
            continue;
        }
        high += 1;
        match piece.get(at + 1) {
            Some(trail) if *trail >= 0xa1 => {
                if (0xb0..=0xd7).contains(&piece[at]) {
                    common += 1;
                }
                at += 2;
            }
            Some(trail) if *trail >= 0x40 => at += 2,
            _ => at += 1,
        }
    }
    let mut guesser = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
    guesser.feed(piece, true);
    let guess = guesser.guess(None, chardetng::Utf8Detection::Deny);
    let chinese = common * 10 >= high * 6;
    let other_asian = ["EUC-KR", "Shift_JIS", "EUC-JP", "Big5"].contains(&guess.name());
    if (chinese && !(other_asian && high >= 200)) || guess.name() == "GBK" {
        // GB18030 holds all of GBK and GB2312.
        GB18030
    } else if guess == UTF_16LE || guess == UTF_16BE || guess == UTF_8 {
        WINDOWS_1252
    } else {
        guess
    }
}

/// Whether the piece is UTF-8, allowing for a character cut at its end and for a few broken bytes: those rows are
/// rejected one by one, which is better than misreading all others.
fn mostly_utf8(piece: &[u8]) -> bool {
    let (mut good, mut broken, mut rest) = (0_usize, 0_usize, piece);
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                good += text.bytes().filter(|b| *b >= 0xc0).count();
                break;
            }
            Err(e) => {
                good += rest[..e.valid_up_to()].iter().filter(|b| **b >= 0xc0).count();
                match e.error_len() {
                    None => break,
                    Some(n) => {
                        broken += 1;
                        rest = &rest[e.valid_up_to() + n..];
                    }
                }
            }
        }
        if broken > 100 && good < broken * 10 {
            return false;
        }
    }
    broken == 0 || good >= broken * 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> (String, &'static str) {
        let mut d = Decoder::new(Box::new(std::io::Cursor::new(bytes)), None);
        let mut out = Vec::new();
        while d.more(&mut out).expect("memory reads") {}
        (String::from_utf8(out).expect("UTF-8 comes out"), d.encoding())
    }

    #[test]
    fn encodings_are_told_apart() {
        let text = "标题,价格\n相宜本草红景天护肤套装,258\n";
        assert_eq!(read(text.into()), (text.into(), "UTF-8"));
        assert_eq!(read(GB18030.encode(text).0.into_owned()), (text.into(), "gb18030"));
        let mut bom = vec![0xef, 0xbb, 0xbf];
        bom.extend(text.as_bytes());
        assert_eq!(read(bom), (text.into(), "UTF-8"));
        for (mark, big) in [([0xff, 0xfe], false), ([0xfe, 0xff], true)] {
            let mut bytes = mark.to_vec();
            bytes.extend(
                text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }),
            );
            assert_eq!(read(bytes), (text.into(), if big { "UTF-16BE" } else { "UTF-16LE" }));
        }
        let western = "Stück;Größe\nKäse für Zürich;Brötchen über Äpfel\n";
        assert_eq!(read(WINDOWS_1252.encode(western).0.into_owned()).0, western);
    }

    #[test]
    fn late_chinese_text_is_still_found() {
        let mut text = "id,title\n".to_owned();
        for i in 0..100_000 {
            text += &format!("{i},plain\n");
        }
        text += "100000,双十一红茶礼盒\n";
        let (out, encoding) = read(GB18030.encode(&text).0.into_owned());
        assert_eq!(encoding, "gb18030");
        assert!(out == text);
    }
}
