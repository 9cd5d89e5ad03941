//! A reading in plain words, English and Chinese.

use super::{Advice, Contrast, Definition, Method, MetricKind, MetricReading, Purpose, Reading};
use serde::{Deserialize, Serialize};

/// Sentences that mean the same, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// English.
    pub en: Vec<String>,
    /// Chinese.
    pub zh: Vec<String>,
}

impl Words {
    fn say(&mut self, en: String, zh: String) {
        self.en.push(en);
        self.zh.push(zh);
    }
}

pub(super) fn of(definition: &Definition, reading: &Reading) -> Words {
    let mut words = Words::default();
    advise(definition, reading, &mut words);
    if reading.blocked {
        shares(reading, &mut words);
        return words;
    }
    for metric in &reading.metrics {
        figure(definition, metric, &mut words);
    }
    for chance in &reading.chances {
        let (best, share) = (percent(chance.chance.best), percent(chance.chance.share));
        words.say(
            format!(
                "{} is the best arm with a chance of {best}; it should get {share} of the users.",
                chance.arm
            ),
            format!("{} 是最佳方案的概率为 {best}，应分到 {share} 的用户。", chance.arm),
        );
    }
    words
}

fn advise(definition: &Definition, reading: &Reading, words: &mut Words) {
    let control = definition.control();
    let alpha = percent(definition.alpha);
    match &reading.advice {
        Advice::Mend => words.say(
            "The arms did not get the shares of users that they should, so no figure can be trusted: find where users are \
             lost or counted twice, mend it, and begin again."
                .to_owned(),
            "各方案分到的用户比例与设定不符，任何数字都不可信：请先找出用户在哪里丢失或被重复计数，修复后重新开始。".to_owned(),
        ),
        Advice::Stop { arm, metric } => words.say(
            format!("Stop: {arm} makes {metric} worse by more than is allowed."),
            format!("请停止：{arm} 使护栏指标 {metric} 变差，超出了允许的范围。"),
        ),
        Advice::Wait { share } => {
            let share = percent(share.min(1.0));
            match definition.method {
                Method::Bandit(_) => words.say(
                    "No arm is best with enough certainty yet: go on.".to_owned(),
                    "目前还没有哪个方案足够确定是最佳：请继续。".to_owned(),
                ),
                Method::Fixed { .. } => words.say(
                    format!("Too early to read: {share} of the planned users are there. Looking now proves nothing."),
                    format!("现在下结论太早：计划的用户数只到了 {share}，此时看结果不能说明问题。"),
                ),
                Method::Sequential { .. } => words.say(
                    format!("Nothing is settled yet; {share} of the planned users are there: go on."),
                    format!("目前还没有定论，计划的用户数到了 {share}：请继续。"),
                ),
            }
        }
        Advice::Take { arm } => words.say(
            format!("{arm} is better than {control}: take it. The chance of a false alarm was held to {alpha}."),
            format!("{arm} 优于 {control}：建议采用。误报的概率控制在 {alpha} 以内。"),
        ),
        Advice::Keep => words.say(
            format!("Nothing tried is better than {control}: keep it."),
            format!("没有任何方案优于 {control}：建议保持现状。"),
        ),
        Advice::NoDifference => words.say(
            format!("No difference from {control} is seen; the intervals below say how large one could still be."),
            format!("没有看到与 {control} 的差异；下面的区间说明差异最多还可能有多大。"),
        ),
    }
}

fn shares(reading: &Reading, words: &mut Words) {
    let Some(ratio) = &reading.ratio else { return };
    for ((arm, n), expected) in reading.units.iter().zip(&ratio.expected) {
        words.say(
            format!("{arm} has {n} users, {expected:.0} were expected."),
            format!("{arm} 有 {n} 个用户，应有 {expected:.0} 个。"),
        );
    }
    let p = chance(ratio.p);
    words
        .say(format!("Chance alone does this with a probability of {p}."), format!("纯属偶然的概率为 {p}。"));
}

fn figure(definition: &Definition, metric: &MetricReading, words: &mut Words) {
    let counts = metric.counts();
    let (name, arm, control) = (&metric.metric, &metric.arm, definition.control());
    let (a, c) = (value(metric.kind, counts.arm.value), value(metric.kind, counts.control.value));
    let (low, high) = lift_range(metric, counts);
    let lift = signed(counts.lift);
    let (settled_en, settled_zh) = match metric.better {
        Some(true) => ("better beyond chance", "改善，超出偶然"),
        Some(false) => ("worse beyond chance", "变差，超出偶然"),
        None => ("not settled", "尚无定论"),
    };
    let level = percent(1.0 - definition.alpha);
    words.say(
        format!("{name}: {arm} {a}, {control} {c}, that is {lift} ({level} interval {low} to {high}); {settled_en}."),
        format!("{name}：{arm} 为 {a}，{control} 为 {c}，即 {lift}（{level} 区间 {low} 至 {high}）；{settled_zh}。"),
    );
    if let (Some(cut), Some(_)) = (metric.variance_cut, &metric.adjusted) {
        let (raw, cut) = (signed(metric.raw.lift), percent(cut.max(0.0)));
        words.say(
            format!("  Without the adjustment for earlier behaviour: {raw}; the adjustment takes {cut} of the variance away."),
            format!("　　不按实验前行为调整：{raw}；调整消除了 {cut} 的方差。"),
        );
    }
    if metric.purpose == Purpose::Guard && !metric.broken {
        words.say(format!("  The guard {name} holds."), format!("　　护栏指标 {name} 未被突破。"));
    }
}

/// The interval that holds for how the experiment is judged, as lifts.
fn lift_range(metric: &MetricReading, counts: &Contrast) -> (String, String) {
    match &metric.look {
        Some(look) => {
            let base = counts.control.value;
            let ends = (look.interval.low / base, look.interval.high / base);
            (signed(ends.0.min(ends.1)), signed(ends.0.max(ends.1)))
        }
        None => (signed(counts.lift_interval.low), signed(counts.lift_interval.high)),
    }
}

fn value(kind: MetricKind, value: f64) -> String {
    match kind {
        MetricKind::Conversion => percent(value),
        _ => {
            let digits = if value.abs() >= 100.0 {
                1
            } else if value.abs() >= 1.0 {
                2
            } else {
                4
            };
            format!("{value:.digits$}")
        }
    }
}

fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = if value.abs() >= 10.0 || value == value.round() {
        0
    } else if value.abs() >= 1.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}%")
}

fn signed(lift: f64) -> String {
    if !lift.is_finite() {
        return "–".to_owned();
    }
    let value = lift * 100.0;
    let digits = if value.abs() >= 10.0 { 1 } else { 2 };
    format!("{value:+.digits$}%")
}

fn chance(p: f64) -> String {
    if p < 1e-6 { "< 0.000001".to_owned() } else { format!("{p:.6}") }
}
