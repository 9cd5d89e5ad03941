//! Directions, stages and causes in words, Chinese and English.

use crate::lang::Lang;
use tradewind::forecast::anomalies::{Cause, Kind};
use tradewind::forecast::backtest::DemandClass;
use tradewind::forecast::trend::{NaiveScores, Scores, TrendQuality};
use tradewind::wording;
pub(crate) use tradewind::wording::{growth, percent};
use tradewind::{Basis, Direction, Driver, Freq, Stage};

/// Falling, steady, rising.
pub(crate) fn direction(lang: Lang, direction: Direction) -> &'static str {
    wording::direction(lang.into(), direction)
}

/// The stage of life.
pub(crate) fn stage(lang: Lang, stage: Stage) -> &'static str {
    wording::stage(lang.into(), stage)
}

/// What an answer rests on, where that must be said.
pub(crate) fn basis(lang: Lang, basis: Basis) -> Option<&'static str> {
    wording::basis(lang.into(), basis)
}

/// A cause in words, as "its season is ahead".
pub(crate) fn driver(lang: Lang, driver: &Driver) -> String {
    wording::driver(lang.into(), driver)
}

/// What sort of anomaly.
pub(crate) fn anomaly(lang: Lang, kind: Kind) -> &'static str {
    match kind {
        Kind::Spike => lang.pick("spike", "突增"),
        Kind::Drop => lang.pick("drop", "骤降"),
        Kind::LevelShiftUp => lang.pick("level up", "水平上移"),
        Kind::LevelShiftDown => lang.pick("level down", "水平下移"),
        Kind::StockOutLike => lang.pick("like a stock-out", "疑似缺货"),
    }
}

/// What may be behind an anomaly.
pub(crate) fn cause(lang: Lang, cause: &Cause) -> String {
    match cause {
        Cause::Promotion => lang.pick("promotion", "促销").to_owned(),
        Cause::PromotionEnded => lang.pick("a promotion had ended", "促销结束").to_owned(),
        Cause::PriceCut => lang.pick("lower price", "降价").to_owned(),
        Cause::PriceRise => lang.pick("higher price", "涨价").to_owned(),
        Cause::Closed => lang.pick("closed", "停业").to_owned(),
        Cause::StockOut => lang.pick("out of stock", "缺货").to_owned(),
        Cause::Event(key) => event(lang, key),
        Cause::RunUp(key) => match lang {
            Lang::En => format!("before {}", event(lang, key)),
            Lang::Zh => format!("{}前夕", event(lang, key)),
        },
    }
}

/// The name of an event of the calendar by its key; any other detail stays as it is.
fn event(lang: Lang, key: &str) -> String {
    wording::event(lang.into(), key)
}

/// How good trends were on past dates that the model had not seen, in plain words.
pub(crate) fn quality(lang: Lang, quality: Option<&TrendQuality>, freq: Freq) -> Vec<String> {
    let Some(q) = quality else {
        return vec![
            lang.pick(
                "There is too little past to say how good these answers are; take them as a first impression.",
                "历史太短，无法评估这些答案的准确度，仅供初步参考。",
            )
            .to_owned(),
        ];
    };
    let (from, to) = (freq.format(q.from), freq.format(q.to));
    let s = &q.scores;
    let best = q.naive.iter().map(|n| n.scores.accuracy).fold(0.0, f64::max);
    let mut out = vec![match lang {
        Lang::En => format!(
            "Replayed on {} past dates ({from} to {to}) that the model had not seen, {} cases: {} of the directions were right; the best naive answer was right in {}.",
            q.n_origins,
            s.n,
            percent(s.accuracy),
            percent(best)
        ),
        Lang::Zh => format!(
            "在模型未见过的 {} 个过去日期（{from} 至 {to}）上重演，共 {} 例：方向判断正确率 {}；最好的朴素方法为 {}。",
            q.n_origins,
            s.n,
            percent(s.accuracy),
            percent(best)
        ),
    }];
    let auc = |d: usize| s.directions[d].auc;
    if let (Some(rising), Some(falling)) = (auc(2), auc(0)) {
        out.push(match lang {
            Lang::En => format!(
                "Of two products, one that rose and one that did not, it gave the riser the higher chance {} of the time (falling: {}). Half would be guessing.",
                percent(rising), percent(falling)
            ),
            Lang::Zh => format!(
                "任取一个上升和一个未上升的商品，模型有 {} 的时候给上升者更高的概率（下降：{}）；瞎猜是 50%。",
                percent(rising), percent(falling)
            ),
        });
    }
    out.push(match lang {
        Lang::En => format!(
            "Probabilities differ from what happened by {:.1} points on average. Of the 50 likeliest to rise, {} did.",
            s.calibration_error * 100.0,
            percent(s.precision_top50_rising)
        ),
        Lang::Zh => format!(
            "概率与实际发生比例平均相差 {:.1} 个百分点。最可能上升的 50 个中，{} 确实上升。",
            s.calibration_error * 100.0,
            percent(s.precision_top50_rising)
        ),
    });
    out
}

/// The name of a naive answer.
fn naive(lang: Lang, name: &str) -> &str {
    match name {
        "last_change" => lang.pick("naive: the last change goes on", "朴素：延续上次变化"),
        "year_ago" => lang.pick("naive: as a year ago", "朴素：同去年"),
        "base_rates" => lang.pick("naive: as often as in the past", "朴素：历史频率"),
        other => other,
    }
}

/// The class of demand by its English name, as a leaderboard has it.
pub(crate) fn demand(lang: Lang, name: &str) -> &str {
    DemandClass::ALL.iter().find(|c| c.name() == name).map_or(name, |c| lang.pick(c.name(), c.name_zh()))
}

/// The header of a table of trend scores.
pub(crate) fn score_header(lang: Lang) -> [&'static str; 12] {
    [
        "",
        "n",
        lang.pick("accuracy", "准确率"),
        lang.pick("macro F1", "宏 F1"),
        lang.pick("AUC rising", "AUC 上升"),
        lang.pick("AUC falling", "AUC 下降"),
        "log loss",
        "Brier",
        lang.pick("calibration", "校准误差"),
        lang.pick("precision", "精确率"),
        lang.pick("recall", "召回率"),
        lang.pick("top 50", "前 50"),
    ]
}

/// A row of figures under [`score_header`]; precision and recall are of rising and falling.
pub(crate) fn score_row(name: &str, s: &Scores) -> Vec<String> {
    let auc = |d: usize| s.directions[d].auc.map_or_else(|| "–".to_owned(), |a| format!("{a:.3}"));
    let pair = |of: fn(&tradewind::forecast::trend::DirectionScores) -> f64| {
        format!("↑{:.2} →{:.2} ↓{:.2}", of(&s.directions[2]), of(&s.directions[1]), of(&s.directions[0]))
    };
    vec![
        name.to_owned(),
        s.n.to_string(),
        format!("{:.3}", s.accuracy),
        format!("{:.3}", s.macro_f1),
        auc(2),
        auc(0),
        format!("{:.3}", s.log_loss),
        format!("{:.3}", s.brier),
        format!("{:.3}", s.calibration_error),
        pair(|d| d.precision),
        pair(|d| d.recall),
        format!("{:.2}", s.precision_top50_rising),
    ]
}

/// The rows of the naive answers.
pub(crate) fn naive_rows(lang: Lang, scores: &[NaiveScores]) -> Vec<Vec<String>> {
    scores.iter().map(|n| score_row(naive(lang, &n.name), &n.scores)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind::DriverKind;

    #[test]
    fn numbers_in_words() {
        assert_eq!(growth(0.234), "+23%");
        assert_eq!(growth(-0.04), "−4%");
        assert_eq!(growth(0.001), "±0%");
        assert_eq!(growth(11.0), "×12");
        assert_eq!(percent(0.999), ">99%");
        assert_eq!(percent(0.001), "<1%");
        assert_eq!(percent(0.5), "50%");
    }

    #[test]
    fn every_cause_has_words_in_both_languages() {
        let kinds = [
            DriverKind::Season,
            DriverKind::Holiday,
            DriverKind::Price,
            DriverKind::Promotion,
            DriverKind::Momentum,
            DriverKind::Level,
            DriverKind::Category,
            DriverKind::Shop,
            DriverKind::LifeCycle,
            DriverKind::Regularity,
            DriverKind::Stock,
            DriverKind::Interest,
        ];
        let mut seen = std::collections::HashSet::new();
        for kind in kinds {
            for toward in [Direction::Rising, Direction::Falling] {
                for lang in [Lang::En, Lang::Zh] {
                    assert!(seen.insert(driver(lang, &Driver { kind, share: 1.0, toward, detail: None })));
                }
            }
        }
    }
}
