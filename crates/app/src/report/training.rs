//! How networks were trained: their curves, and what these say.

use super::{page, plots};
use crate::lang::Lang;
use maud::{Markup, html};
use tradewind::core::TrainingCurve;

/// The page of `--curves`.
pub(crate) fn training_page(l: Lang, model: &str, curves: &[TrainingCurve]) -> String {
    let title = match l {
        Lang::En => format!("How {model} was trained"),
        Lang::Zh => format!("{model} 的训练过程"),
    };
    page(l, &title, &html! { h1 { (title) } (training(l, curves)) })
}

/// A card for each curve; nothing where nothing is trained in rounds.
pub(super) fn training(l: Lang, curves: &[TrainingCurve]) -> Markup {
    html! {
        @if !curves.is_empty() {
            p.soft { (l.pick(
                "The loss of each round on the rows learnt from and on rows held back, with dropout in the former. The weights of the round marked are those that were kept.",
                "每一轮在训练行与留出行上的损失（前者含 dropout）。所保留的是标出的那一轮的权重。")) }
            div.cards { @for curve in curves {
                div.card {
                    @if !curve.name.is_empty() { h3 { (curve.name) } }
                    (curve_plot(l, curve))
                    p { (told(l, curve)) }
                }
            } }
        }
    }
}

fn curve_plot(l: Lang, curve: &TrainingCurve) -> Markup {
    let at = |of: &dyn Fn(usize) -> Option<f64>| -> Vec<(f64, f64)> {
        (0..curve.epochs.len()).map(|k| ((k + 1) as f64, of(k).unwrap_or(f64::NAN))).collect()
    };
    let mut lines = vec![(l.pick("learnt from", "训练").to_owned(), at(&|k| Some(curve.epochs[k].training)))];
    if curve.epochs.iter().any(|e| e.validation.is_some()) {
        lines.push((l.pick("held back", "留出").to_owned(), at(&|k| curve.epochs[k].validation)));
        if let Some(constant) = curve.constant {
            lines.push((l.pick("a constant", "常数").to_owned(), at(&|_| Some(constant))));
        }
    }
    let across = match l {
        Lang::En => format!("round; {} kept", curve.best + 1),
        Lang::Zh => format!("轮次；保留第 {} 轮", curve.best + 1),
    };
    plots::lines(&lines, &across, &curve.loss)
}

/// A curve in a sentence.
pub(crate) fn told(l: Lang, curve: &TrainingCurve) -> String {
    let Some(kept) = curve.kept() else { return l.pick("no rounds", "没有训练轮次").to_owned() };
    let held = match (kept.validation, l) {
        (Some(v), Lang::En) => format!(", held back {}", plots::signed(v)),
        (Some(v), Lang::Zh) => format!("，留出 {}", plots::signed(v)),
        (None, _) => String::new(),
    };
    let constant = match (curve.constant.filter(|_| kept.validation.is_some()), l) {
        (Some(c), Lang::En) => format!(" (a constant {})", plots::signed(c)),
        (Some(c), Lang::Zh) => format!("（常数 {}）", plots::signed(c)),
        (None, _) => String::new(),
    };
    let (rounds, best, training) = (curve.epochs.len(), curve.best + 1, plots::signed(kept.training));
    match l {
        Lang::En => format!(
            "{rounds} rounds, {best} kept: {} {training}{held}{constant}; {}",
            curve.loss,
            curve.fit().english()
        ),
        Lang::Zh => format!(
            "共 {rounds} 轮，保留第 {best} 轮：{} {training}{held}{constant}；{}",
            curve.loss,
            curve.fit().chinese()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind::core::training_curve::Epoch;

    fn curve(validation: [Option<f64>; 3]) -> TrainingCurve {
        let epochs = [0.69, 0.5, 0.4]
            .into_iter()
            .zip(validation)
            .map(|(training, validation)| Epoch { training, validation, rate: 1e-3, norm: 1.0 })
            .collect();
        TrainingCurve { name: "<b>".into(), loss: "log loss".into(), epochs, best: 1, constant: Some(0.69) }
    }

    #[test]
    fn curves_are_pictures_with_a_sentence() {
        let held = curve([Some(0.65), Some(0.45), Some(0.452)]);
        let without = curve([None; 3]);
        for l in [Lang::En, Lang::Zh] {
            let page = training_page(l, "mlp", &[held.clone(), without.clone(), curve([Some(f64::NAN); 3])]);
            assert_eq!(page.matches("<svg").count(), 3);
            assert!(!page.contains("NaN") && !page.contains("<b>"));
        }
        let text = told(Lang::En, &held);
        assert!(
            text.starts_with("3 rounds, 2 kept: log loss 0.500, held back 0.450 (a constant 0.690); sound"),
            "{text}"
        );
        assert!(told(Lang::Zh, &without).contains("保留第 2 轮：log loss 0.500；"));
        assert!(training(Lang::En, &[]).into_string().is_empty());
    }
}
