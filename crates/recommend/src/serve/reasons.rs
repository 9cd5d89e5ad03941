//! Why an item is shown, in Chinese and English, true by construction.
//!
//! A reason is made from what put the item into the list: the event of the history that speaks most for it
//! ([`contributions`](tradewind_core::FittedRecommender::contributions)), the item of the request it was counted with,
//! the counter that rises. Where none of these holds there is no reason.

/// A language of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

/// Why an item is shown. Items and categories are named as in the item table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The user bought this item.
    Bought(String),
    /// The user looked at, rated or otherwise met this item.
    Met(String),
    /// It often follows this item.
    Follows(String),
    /// It is often bought with this item.
    BoughtWith(String),
    /// It is like this item.
    Like(String),
    /// It rises in this category; without one: everywhere.
    Rising(Option<String>),
    /// It is popular in this category; without one: everywhere.
    Popular(Option<String>),
    /// It is new in this category; without one: in the shop.
    New(Option<String>),
    /// A search found it.
    Found,
}

impl Reason {
    /// The item that is named as the cause.
    pub fn item(&self) -> Option<&str> {
        match self {
            Self::Bought(i) | Self::Met(i) | Self::Follows(i) | Self::BoughtWith(i) | Self::Like(i) => {
                Some(i)
            }
            _ => None,
        }
    }

    /// The category that is named.
    pub fn category(&self) -> Option<&str> {
        match self {
            Self::Rising(c) | Self::Popular(c) | Self::New(c) => c.as_deref(),
            _ => None,
        }
    }

    /// Its kind, stable for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bought(_) => "bought",
            Self::Met(_) => "met",
            Self::Follows(_) => "follows",
            Self::BoughtWith(_) => "bought_with",
            Self::Like(_) => "like",
            Self::Rising(_) => "rising",
            Self::Popular(_) => "popular",
            Self::New(_) => "new",
            Self::Found => "found",
        }
    }

    /// The sentence, with `title` giving the title of an item, where it has one.
    pub fn text(&self, language: Language, title: impl Fn(&str) -> Option<String>) -> String {
        let item = || self.item().map(|i| title(i).unwrap_or_else(|| i.to_owned())).unwrap_or_default();
        match (language, self) {
            (Language::En, Self::Bought(_)) => format!("because you bought {}", item()),
            (Language::Zh, Self::Bought(_)) => format!("因为您买过“{}”", item()),
            (Language::En, Self::Met(_)) => format!("because of your interest in {}", item()),
            (Language::Zh, Self::Met(_)) => format!("因为您关注过“{}”", item()),
            (Language::En, Self::Follows(_)) => format!("often chosen after {}", item()),
            (Language::Zh, Self::Follows(_)) => format!("看过“{}”的人接着常选", item()),
            (Language::En, Self::BoughtWith(_)) => format!("often bought with {}", item()),
            (Language::Zh, Self::BoughtWith(_)) => format!("常与“{}”一起购买", item()),
            (Language::En, Self::Like(_)) => format!("like {}", item()),
            (Language::Zh, Self::Like(_)) => format!("与“{}”相似", item()),
            (Language::En, Self::Rising(Some(c))) => format!("rising in {c}"),
            (Language::Zh, Self::Rising(Some(c))) => format!("“{c}”中正在升温"),
            (Language::En, Self::Rising(None)) => "rising now".into(),
            (Language::Zh, Self::Rising(None)) => "正在升温".into(),
            (Language::En, Self::Popular(Some(c))) => format!("popular in {c}"),
            (Language::Zh, Self::Popular(Some(c))) => format!("“{c}”中的热门"),
            (Language::En, Self::Popular(None)) => "popular".into(),
            (Language::Zh, Self::Popular(None)) => "热门商品".into(),
            (Language::En, Self::New(Some(c))) => format!("new in {c}"),
            (Language::Zh, Self::New(Some(c))) => format!("“{c}”新品"),
            (Language::En, Self::New(None)) => "new".into(),
            (Language::Zh, Self::New(None)) => "新品".into(),
            (Language::En, Self::Found) => "found by your search".into(),
            (Language::Zh, Self::Found) => "符合您的搜索".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_the_title_where_there_is_one() {
        let title = |id: &str| (id == "t1").then(|| "Green tea".to_owned());
        let text = |r: &Reason, l| r.text(l, title);
        assert_eq!(text(&Reason::Bought("t1".into()), Language::En), "because you bought Green tea");
        assert_eq!(text(&Reason::BoughtWith("c9".into()), Language::Zh), "常与“c9”一起购买");
        assert_eq!(text(&Reason::Rising(Some("tea".into())), Language::En), "rising in tea");
    }
}
