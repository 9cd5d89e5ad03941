//! The words of a title: what a shopper would search for.

use jieba_rs::Jieba;
use std::collections::HashSet;

/// Words that say nothing about a product. Kept short on purpose: a word that only looks idle may be what sells.
const IDLE_EN: &[&str] = &[
    "a", "an", "and", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "the", "to", "with",
    "your", "set", "pack", "new", "pcs", "pc", "x", "no", "not",
];
const IDLE_ZH: &[&str] = &[
    "的",
    "了",
    "和",
    "与",
    "及",
    "或",
    "在",
    "是",
    "也",
    "就",
    "都",
    "而",
    "为",
    "等",
    "款",
    "新款",
    "正品",
    "包邮",
    "官方",
    "旗舰店",
    "专柜",
    "同款",
    "热卖",
    "爆款",
    "个",
    "件",
    "套",
    "只",
    "瓶",
    "盒",
    "装",
];

/// Products that sell goods of a kind share its words; names of goods that the general dictionary cuts apart.
const GOODS_ZH: &[&str] = &[
    "防晒衣",
    "防晒霜",
    "连衣裙",
    "羽绒服",
    "卫生纸",
    "洗面奶",
    "保温杯",
    "充电宝",
    "蓝牙耳机",
    "年货",
    "月饼",
    "粽子",
    "坚果",
    "面膜",
    "口红",
    "眼霜",
    "精华液",
    "爽肤水",
    "乳液",
    "隔离霜",
    "粉底液",
    "气垫",
    "睫毛膏",
    "眉笔",
    "卸妆水",
    "洗发水",
    "沐浴露",
    "护手霜",
    "电饭煲",
    "扫地机",
    "空气炸锅",
    "行李箱",
    "运动鞋",
    "帆布鞋",
    "瑜伽垫",
    "猫粮",
    "狗粮",
];

/// Cuts titles into words. Building one loads the dictionary (some tens of milliseconds): make one and keep it.
pub struct TitleWords {
    jieba: Jieba,
    idle: HashSet<&'static str>,
}

impl std::fmt::Debug for TitleWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TitleWords")
    }
}

impl Default for TitleWords {
    fn default() -> Self {
        Self::new()
    }
}

impl TitleWords {
    /// With the dictionary that is compiled in, and names of goods beside it.
    pub fn new() -> Self {
        let mut jieba = Jieba::new();
        for word in GOODS_ZH {
            jieba.add_word(word, None, Some("n"));
        }
        Self { jieba, idle: IDLE_EN.iter().chain(IDLE_ZH).copied().collect() }
    }

    /// The distinct words of a title in their order: Latin words in lower case with inner hyphens and apostrophes kept,
    /// Chinese words of at least two characters; no numbers, no idle words.
    pub fn of(&self, title: &str) -> Vec<String> {
        let title: String = title.chars().map(narrow).collect();
        let mut out: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let mut keep = |word: String| {
            if !self.idle.contains(word.as_str()) && seen.insert(word.clone()) {
                out.push(word);
            }
        };
        for run in runs(&title) {
            if run.chars().any(is_han) {
                for word in self.jieba.cut(run, true) {
                    let word = word.word;
                    if word.chars().filter(|c| is_han(*c)).count() >= 2 {
                        keep(word.to_owned());
                    }
                }
            } else {
                let word = run.trim_matches(|c: char| c == '-' || c == '\'').to_lowercase();
                let letters = word.chars().filter(|c| c.is_alphabetic()).count();
                // "3", "500ml" and "2x" are sizes, not goods; "b6" and "mp3" are kept with a letter in front.
                if letters >= 2 && !word.starts_with(|c: char| c.is_ascii_digit()) {
                    keep(word);
                }
            }
        }
        out
    }
}

/// Full-width Latin letters, digits and signs as their usual forms.
fn narrow(c: char) -> char {
    match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{2019}' => '\'',
        _ => c,
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

/// Cuts a text into runs of Chinese characters and runs of other word characters.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let class = |c: char| {
        if is_han(c) {
            1
        } else if c.is_alphanumeric() || c == '-' || c == '\'' {
            2
        } else {
            0
        }
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c| class(c) == 0);
        let first = class(rest.chars().next()?);
        let end = rest.find(|c| class(c) != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_of_both_languages() {
        let w = TitleWords::new();
        assert_eq!(
            w.of("WHITE HANGING HEART T-LIGHT HOLDER"),
            ["white", "hanging", "heart", "t-light", "holder"]
        );
        assert_eq!(w.of("Children's Apron, SET OF 2 x 500ml"), ["children's", "apron"]);
        assert_eq!(w.of("ＭＰ３　播放器 正品包邮"), ["mp3", "播放器"]);
        let sun = w.of("夏季薄款防晒衣 女 透气 Sun-proof jacket jacket");
        assert_eq!(sun.iter().filter(|w| *w == "jacket").count(), 1);
        for word in ["防晒衣", "透气", "sun-proof", "夏季"] {
            assert!(sun.iter().any(|w| w == word), "{word} is missing in {sun:?}");
        }
        assert!(w.of("").is_empty());
        assert!(w.of("—— 123 !!! 女").is_empty());
    }

    #[test]
    fn any_text_is_cut() {
        let w = TitleWords::new();
        for text in ["\u{0}\u{fffd}", "👩‍👩‍👧 tea", "-'-", "ﬁne", "Ωmega3 鱼油"] {
            let _ = w.of(text);
        }
        assert_eq!(w.of("👩‍👩‍👧 tea"), ["tea"]);
    }
}
