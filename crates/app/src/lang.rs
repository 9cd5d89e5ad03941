//! Chinese or English.

use clap::ValueEnum;
use tradewind::warehouse::settings::Language;

/// The language of what people read. JSON keys stay English.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Lang {
    /// The one asked for; else the shop's; else the locale's.
    pub(crate) fn choose(asked: Option<Self>, shop: Option<Self>) -> Self {
        asked.or(shop).or_else(|| Self::named(&sys_locale::get_locale()?)).unwrap_or(Self::En)
    }

    /// The language of a shop's settings; none when they leave it to the system.
    pub(crate) fn of_shop(language: Language) -> Option<Self> {
        match language {
            Language::Auto => None,
            Language::En => Some(Self::En),
            Language::Zh => Some(Self::Zh),
        }
    }

    fn named(tag: &str) -> Option<Self> {
        let tag = tag.to_lowercase();
        if tag.starts_with("zh") {
            Some(Self::Zh)
        } else if tag.starts_with("en") {
            Some(Self::En)
        } else {
            None
        }
    }

    /// One of two texts.
    pub(crate) fn pick<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }

    /// The tag for HTML.
    pub(crate) fn tag(self) -> &'static str {
        self.pick("en", "zh-Hans")
    }
}

impl From<Lang> for tradewind::wording::Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::En => Self::En,
            Lang::Zh => Self::Zh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_before_shop_before_locale() {
        assert_eq!(Lang::choose(Some(Lang::Zh), Some(Lang::En)), Lang::Zh);
        assert_eq!(Lang::choose(None, Lang::of_shop(Language::Zh)), Lang::Zh);
        assert_eq!(Lang::named("fr_FR"), None);
        assert_eq!(Lang::named("zh_CN.UTF-8"), Some(Lang::Zh));
        assert_eq!(Lang::of_shop(Language::Auto), None);
    }
}
