//! Directions, stages, causes and trends in words, Chinese and English: what pages, terminals and answers say alike.

use tradewind_core::{Basis, Direction, Driver, DriverKind, Stage, Trend};
pub use tradewind_recommend::serve::Language;

/// Causes that a reason names.
const CAUSES: usize = 3;

/// The text of a language.
fn pick<'a>(language: Language, en: &'a str, zh: &'a str) -> &'a str {
    match language {
        Language::En => en,
        Language::Zh => zh,
    }
}

/// Why a trend goes where it goes, in one sentence: how likely, how much, and what speaks for it.
///
/// ```
/// use tradewind::wording::{Language, trend_reason};
/// use tradewind::{Basis, Direction, Driver, DriverKind, Stage, Trend};
/// let driver = Driver { kind: DriverKind::Season, share: 1.0, toward: Direction::Rising, detail: None };
/// let trend = Trend {
///     unique_id: "tea".into(),
///     cutoff: 0,
///     horizon: 28,
///     probabilities: [0.05, 0.15, 0.8],
///     growth: 0.25,
///     growth_lower: 0.1,
///     growth_upper: 0.5,
///     units_last: 40.0,
///     units_expected: 50.0,
///     stage: Stage::Rising,
///     change_points: vec![],
///     drivers: vec![driver],
///     basis: Basis::History,
/// };
/// let text = trend_reason(&trend, Language::En);
/// assert_eq!(text, "80% likely to be rising: 50 units expected after 40 (+25%), because its season is ahead");
/// ```
pub fn trend_reason(trend: &Trend, language: Language) -> String {
    let toward = trend.direction();
    let likely = percent(trend.probabilities[toward as usize]);
    let (last, next) = (trend.units_last.round(), trend.units_expected.round());
    let mut text = match language {
        Language::En => format!(
            "{likely} likely to be {}: {next:.0} units expected after {last:.0} ({})",
            direction(language, toward),
            growth(trend.growth)
        ),
        Language::Zh => format!(
            "{likely} 的可能{}：预计销量 {next:.0}，上一窗口 {last:.0}（{}）",
            direction(language, toward),
            growth(trend.growth)
        ),
    };
    // What pushes against the answer is no reason for it; a steady one has none of its own.
    let causes: Vec<String> = trend
        .drivers
        .iter()
        .filter(|d| d.toward == toward)
        .take(CAUSES)
        .map(|d| driver(language, d))
        .collect();
    if !causes.is_empty() {
        text.push_str(pick(language, ", because ", "，因为"));
        text.push_str(&causes.join(pick(language, "; ", "；")));
    }
    if let Some(basis) = basis(language, trend.basis) {
        text.push_str(pick(language, " (", "（"));
        text.push_str(basis);
        text.push_str(pick(language, ")", "）"));
    }
    text
}

/// Falling, steady, rising.
pub fn direction(language: Language, direction: Direction) -> &'static str {
    match direction {
        Direction::Falling => pick(language, "falling", "下降"),
        Direction::Steady => pick(language, "steady", "平稳"),
        Direction::Rising => pick(language, "rising", "上升"),
    }
}

/// The stage of life.
pub fn stage(language: Language, stage: Stage) -> &'static str {
    match stage {
        Stage::New => pick(language, "new", "新品期"),
        Stage::Rising => pick(language, "growing", "成长期"),
        Stage::Peak => pick(language, "peak", "高峰期"),
        Stage::Mature => pick(language, "mature", "成熟期"),
        Stage::Falling => pick(language, "declining", "衰退期"),
        Stage::Dormant => pick(language, "dormant", "休眠"),
        Stage::Seasonal => pick(language, "seasonal", "季节性"),
    }
}

/// What an answer rests on, where that must be said.
pub fn basis(language: Language, basis: Basis) -> Option<&'static str> {
    match basis {
        Basis::History => None,
        Basis::Attributes => {
            Some(pick(language, "new: judged by its category and attributes", "新品：依据品类与属性判断"))
        }
    }
}

/// A cause in words, as "its season is ahead".
pub fn driver(language: Language, driver: &Driver) -> String {
    let up = driver.toward != Direction::Falling;
    let say = |rise: (&str, &str), fall: (&str, &str)| {
        let (en, zh) = if up { rise } else { fall };
        pick(language, en, zh).to_owned()
    };
    let text = match driver.kind {
        DriverKind::Season => say(("its season is ahead", "旺季将至"), ("its season is passing", "旺季将过")),
        DriverKind::Holiday => {
            say(("a festival is ahead", "节日或大促将至"), ("a festival has passed", "节日或大促已过"))
        }
        DriverKind::Price => {
            let (down, up) = (("its price went down", "价格下调"), ("its price went up", "价格上调"));
            // What the price did is told as it was, even where the model answers a higher one with growth.
            match driver.detail.as_deref().and_then(|d| d.chars().next()) {
                Some('+') => say(up, up),
                Some('-' | '−') => say(down, down),
                _ => say(down, up),
            }
        }
        DriverKind::Promotion => say(("a promotion helps", "促销拉动"), ("a promotion ends", "促销结束")),
        DriverKind::Momentum => {
            say(("its sales gain pace", "销量势头向上"), ("its sales lose pace", "销量势头向下"))
        }
        DriverKind::Level => say(
            ("its sales are below their usual level", "近期销量低于常态，趋于回升"),
            ("its sales are above their usual level", "近期销量高于常态，趋于回落"),
        ),
        DriverKind::Category => {
            say(("its category pulls it up", "品类上行带动"), ("its category pulls it down", "品类下行拖累"))
        }
        DriverKind::Shop => {
            say(("the whole shop sells more", "全店上行带动"), ("the whole shop sells less", "全店下行拖累"))
        }
        DriverKind::LifeCycle => say(
            ("its age speaks for growth", "所处生命周期利于增长"),
            ("its age speaks for decline", "所处生命周期趋于衰退"),
        ),
        DriverKind::Regularity => say(
            ("how regularly it sells speaks for growth", "销售规律利于增长"),
            ("how regularly it sells speaks for decline", "销售规律预示下降"),
        ),
        DriverKind::Stock => say(("it is in stock again", "恢复有货"), ("it ran out of stock", "缺货")),
        DriverKind::Interest => {
            say(("more people look at it", "关注度上升"), ("fewer people look at it", "关注度下降"))
        }
    };
    match driver.detail.as_deref().filter(|d| !d.is_empty()) {
        Some(detail) => format!("{text} ({})", event(language, detail)),
        None => text,
    }
}

/// The name of an event of the calendar by its key; any other detail stays as it is.
pub fn event(language: Language, key: &str) -> String {
    let key = key.strip_prefix("own:").unwrap_or(key);
    tradewind_core::calendar::events::spec(key)
        .map_or_else(|| key.replace('_', " "), |e| pick(language, e.name_en, e.name_zh).to_owned())
}

/// A share in percent with its sign: +23 %, −4 %.
pub fn growth(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    // Beyond a tenfold the exact share says nothing that a factor does not say better.
    if share >= 9.0 {
        return format!("×{:.0}", share + 1.0);
    }
    let percent = (share * 100.0).round();
    format!(
        "{}{:.0}%",
        if percent > 0.0 {
            "+"
        } else if percent < 0.0 {
            "−"
        } else {
            "±"
        },
        percent.abs()
    )
}

/// A probability in whole percent; never 0 % or 100 %, which nobody can promise.
pub fn percent(p: f64) -> String {
    match (p * 100.0).round() {
        r if r < 1.0 => "<1%".to_owned(),
        r if r > 99.0 => ">99%".to_owned(),
        r => format!("{r:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::trend::DriverKind;

    #[test]
    fn a_price_that_rose_is_never_told_to_have_fallen() {
        let told = |detail: &str, toward| {
            let driver =
                Driver { kind: DriverKind::Price, share: 1.0, toward, detail: Some(detail.to_owned()) };
            super::driver(Language::En, &driver)
        };
        for toward in [Direction::Rising, Direction::Falling] {
            assert_eq!(told("+12%", toward), "its price went up (+12%)");
            assert_eq!(told("-5%", toward), "its price went down (-5%)");
        }
        assert_eq!(told("", Direction::Rising), "its price went down");
    }
}
