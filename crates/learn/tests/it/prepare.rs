//! Preparation: reference values of scikit-learn (`reference/prepare.py` names the version), no leakage, clear errors.

use proptest::prelude::*;
use serde_json::Value;
use tradewind_core::Run;
use tradewind_learn::frame::{Column, Frame, Words};
use tradewind_learn::polynomial::Polynomial;
use tradewind_learn::prepare::{
    Bound, DatePart, Fill, FittedRecipe, Prepared, Reading, Recipe, Select, Step, Target, Tokens, Whole,
};
use tradewind_learn::transform::Transform;
use tradewind_learn::{Bears, ColumnKind, Task};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/prepare.json")).unwrap()
}

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn rows(v: &Value) -> Vec<Vec<f64>> {
    v.as_array().unwrap().iter().map(list).collect()
}

fn numbers(rows: &[Vec<f64>]) -> Frame {
    let column = |j: usize| (format!("x{j}"), Column::Number(rows.iter().map(|r| r[j]).collect()));
    Frame::new((0..rows[0].len()).map(column).collect()).unwrap()
}

fn words(r: &Value) -> Frame {
    let words = r["words"].as_array().unwrap().iter().map(|w| w.as_str());
    Frame::new(vec![("word".into(), Column::text(words))]).unwrap()
}

fn all(steps: Vec<Step>) -> Recipe {
    Recipe::default().with(Select::All, steps)
}

#[track_caller]
fn near(got: &Prepared, want: &[Vec<f64>], tolerance: f64) {
    assert_eq!((got.x.n_rows(), got.x.n_cols()), (want.len(), want[0].len()));
    for (i, (g, w)) in got.x.rows().zip(want).enumerate() {
        for (j, (g, w)) in g.iter().zip(w).enumerate() {
            assert!(
                (g - w).abs() <= tolerance * w.abs().max(1.0),
                "row {i} column {j}: got {g}, reference {w}"
            );
        }
    }
}

#[test]
fn imputation_as_scikit_learn() {
    let r = reference();
    let holes = rows(&r["holes"]);
    let rounded: Vec<Vec<f64>> =
        holes.iter().map(|row| row.iter().map(|v| v.round_ties_even()).collect()).collect();
    for (name, with) in [("mean", Fill::Mean), ("median", Fill::Median), ("mode", Fill::Mode)] {
        let recipe = all(vec![Step::Impute { with, by: None, mark: false }]);
        let (_, x) = recipe.fit_transform(&Run::new(0), &numbers(&rounded), None).unwrap();
        near(&x, &rows(&r[name]), 1e-12);
    }
    let mut recipe = all(vec![Step::Keep]);
    recipe.whole.push(Whole::ImputeNearest { k: 3, rows_max: 1000 });
    let (fitted, x) = recipe.fit_transform(&Run::new(0), &numbers(&holes), None).unwrap();
    near(&x, &rows(&r["nearest"]), 1e-12);
    let one = fitted.transform_with(&Run::new(0).with_threads(1), &numbers(&holes), None).unwrap();
    assert_eq!(one, x);
}

/// The reference stops its search at 1e-8 of the loss, so lambdas agree to five digits.
#[test]
fn yeo_johnson_as_scikit_learn() {
    let r = reference();
    let frame = numbers(&rows(&r["x"]));
    for (j, lambda) in list(&r["lambdas"]).iter().enumerate() {
        let values: Vec<f64> = rows(&r["x"]).iter().map(|row| row[j]).collect();
        let fitted = tradewind_learn::prepare::FittedYeoJohnson::fit(&values).unwrap();
        assert!((fitted.lambda - lambda).abs() < 1e-5, "{j}: {} {lambda}", fitted.lambda);
    }
    let (_, x) = all(vec![Step::YeoJohnson]).fit_transform(&Run::new(0), &frame, None).unwrap();
    near(&x, &rows(&r["power"]), 1e-5);
}

#[test]
fn encoders_as_scikit_learn() {
    let r = reference();
    let frame = words(&r);
    let one_hot = all(vec![Step::OneHot { limit: 10, rare: 0 }]);
    near(&one_hot.fit_transform(&Run::new(0), &frame, None).unwrap().1, &rows(&r["one_hot"]), 0.0);
    let by_target = all(vec![Step::Target { smoothing: 4.0, n_folds: 5 }]);
    let (y, c) = (list(&r["y"]), list(&r["c"]));
    let two: Vec<f64> = c.iter().map(|c| f64::from(u8::from(*c > 0.0))).collect();
    for (name, task, y) in [
        ("target", Task::Regression, &y),
        ("target_binary", Task::Binary, &two),
        ("target_classes", Task::Multiclass, &c),
    ] {
        let fitted = by_target.fit(&Run::new(0), &frame, Some(Target { task, y })).unwrap();
        let want = match r[name][0].is_array() {
            true => rows(&r[name]),
            false => list(&r[name]).iter().map(|v| vec![*v]).collect(),
        };
        near(&fitted.transform(&frame).unwrap(), &want, 1e-12);
    }
}

/// A table of every kind of column, with gaps.
fn mixed(seed: u64, n: usize) -> (Frame, Vec<f64>) {
    let hash = |i: usize, k: u64| {
        let mut h = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (seed * 31 + k).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (h ^ (h >> 27)) >> 11
    };
    let gap = |i: usize, k: u64| hash(i, k + 100).is_multiple_of(6);
    let number = |k: u64| {
        (0..n).map(|i| if gap(i, k) { f64::NAN } else { (hash(i, k) % 1000) as f64 / 10.0 }).collect()
    };
    let word = |i: usize| (!gap(i, 3)).then(|| ["red", "green", "blue", "grey"][(hash(i, 3) % 4) as usize]);
    let many = |i: usize| Some(format!("shop{}", hash(i, 4) % 60));
    let frame = Frame::new(vec![
        ("price".into(), Column::Number(number(1))),
        ("stock".into(), Column::Number(number(2))),
        ("colour".into(), Column::text((0..n).map(word))),
        ("shop".into(), Column::text((0..n).map(many))),
        (
            "day".into(),
            Column::Date((0..n).map(|i| (!gap(i, 5)).then(|| (hash(i, 5) % 2_000_000_000) as i64)).collect()),
        ),
        (
            "new".into(),
            Column::Flag((0..n).map(|i| (!gap(i, 6)).then(|| hash(i, 6).is_multiple_of(2))).collect()),
        ),
    ])
    .unwrap();
    (frame, (0..n).map(|i| (hash(i, 7) % 3) as f64).collect())
}

/// Every step at once.
fn everything() -> Recipe {
    let one = |name: &str| Select::Names(vec![name.to_owned()]);
    let mut recipe = Recipe::default()
        .with(
            one("price"),
            vec![
                Step::Cap(Bound::Quantiles(0.05, 0.95)),
                Step::Impute { with: Fill::Median, by: Some("colour".into()), mark: true },
                Step::YeoJohnson,
            ],
        )
        .with(one("stock"), vec![Step::Cap(Bound::Mad(3.0)), Step::Scale(Transform::Robust)])
        .with(
            one("shop"),
            vec![Step::Target { smoothing: 3.0, n_folds: 4 }, Step::Scale(Transform::Standard)],
        )
        .with(one("colour"), vec![Step::OneHot { limit: 3, rare: 2 }])
        .with(
            Select::Holds(tradewind_learn::frame::Holds::Date),
            vec![
                Step::Dates(vec![DatePart::Year, DatePart::HourCycle, DatePart::DaysSince]),
                Step::Impute { with: Fill::Mean, by: None, mark: false },
                Step::Scale(Transform::MinMax),
            ],
        )
        .with(Select::All, vec![Step::Impute { with: Fill::Mode, by: None, mark: false }]);
    recipe.whole = vec![Whole::ImputeNearest { k: 3, rows_max: 30 }, Whole::DropConstant];
    recipe
}

fn bits(p: &Prepared) -> Vec<u64> {
    p.x.values().iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_fitted_comes_back_bit_for_bit(seed in 0u64..1000, n in 12usize..60) {
        let (frame, y) = mixed(seed, n);
        let target = Target { task: Task::Multiclass, y: &y };
        let (fitted, x) = everything().fit_transform(&Run::new(seed), &frame, Some(target)).unwrap();
        prop_assert!(x.x.values().iter().all(|v| v.is_finite()));
        let read: FittedRecipe = serde_json::from_str(&serde_json::to_string(&fitted).unwrap()).unwrap();
        prop_assert_eq!(&read, &fitted);
        let new = mixed(seed + 1, 9).0;
        let prepared = fitted.transform(&new).unwrap();
        prop_assert_eq!(bits(&read.transform(&new).unwrap()), bits(&prepared));
        prop_assert_eq!(&prepared.names, &x.names);
        prop_assert_eq!(prepared.names.as_slice(), fitted.names());
        // One row alone is prepared as it is among others.
        let single = fitted.transform(&new.select_rows(&[4]).unwrap()).unwrap();
        prop_assert_eq!(bits(&single), prepared.x.row(4).iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        let recipe: Recipe = serde_json::from_str(&serde_json::to_string(&everything()).unwrap()).unwrap();
        prop_assert_eq!(recipe, everything());
    }

    /// The training rows' own value under target encoding does not move with their own target, and what is fitted does
    /// not know rows that were not given.
    #[test]
    fn nothing_leaks(seed in 0u64..1000, at in 0usize..40, other in -50.0f64..50.0) {
        let (frame, y) = mixed(seed, 40);
        let recipe = Recipe::default()
            .with(Select::Names(vec!["shop".into(), "colour".into()]), vec![Step::Target { smoothing: 2.0, n_folds: 5 }]);
        let mut changed = y.clone();
        changed[at] = other;
        let of = |y: &[f64]| {
            recipe.fit_transform(&Run::new(seed), &frame, Some(Target { task: Task::Regression, y })).unwrap()
        };
        let ((fitted, a), (moved, b)) = (of(&y), of(&changed));
        prop_assert_eq!(a.x.row(at), b.x.row(at));
        prop_assert_eq!(fitted == moved, y[at] == other);
        // Fitted on the first rows, whatever the others hold.
        let train: Vec<usize> = (0..25).collect();
        let (longer, _) = mixed(seed, 31);
        let fit = |f: &Frame| {
            let part = f.select_rows(&train).unwrap();
            everything().fit(&Run::new(1), &part, Some(Target { task: Task::Multiclass, y: &y[..25] })).unwrap()
        };
        prop_assert_eq!(fit(&frame), fit(&longer));
    }

    #[test]
    fn the_standard_recipe_suits_every_estimator(seed in 0u64..100, missing: bool, categories: bool, any_scale: bool, has_target: bool) {
        let (frame, y) = mixed(seed, 80);
        let bears = Bears { missing, categories, any_scale, weights: false, negative: true, many_categories: false };
        let recipe = Recipe::standard(&frame, bears, has_target);
        let target = has_target.then_some(Target { task: Task::Regression, y: &y });
        let (fitted, x) = recipe.fit_transform(&Run::new(1), &frame, target).unwrap();
        prop_assert!(missing || x.x.values().iter().all(|v| v.is_finite()));
        prop_assert!(categories || x.kinds.iter().all(|k| *k == ColumnKind::Number));
        prop_assert_eq!(x.kinds.contains(&ColumnKind::Category), categories && missing);
        prop_assert!(x.clone().dataset(y).is_ok());
        prop_assert_eq!(fitted.transform(&mixed(seed + 7, 5).0).unwrap().names, x.names);
    }
}

#[test]
fn unknown_and_missing_categories() {
    let train =
        Frame::new(vec![("c".into(), Column::text(["a", "b", "b", "c", "c", "c"].map(Some)))]).unwrap();
    let new = Frame::new(vec![("c".into(), Column::text([Some("b"), Some("z"), None, Some("a")]))]).unwrap();
    let of = |step: Step| all(vec![step]).fit(&Run::new(0), &train, None).unwrap().transform(&new).unwrap();
    let hot = of(Step::OneHot { limit: 2, rare: 0 });
    assert_eq!(hot.names, ["c=c", "c=(rare)"]);
    assert_eq!(hot.x.values(), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let codes = of(Step::Codes { limit: 2 });
    assert_eq!(codes.kinds, [ColumnKind::Category]);
    assert_eq!(codes.x.get(0, 0), 0.0);
    assert!((1..4).all(|i| codes.x.get(i, 0).is_nan()));
    let hash = of(Step::Hash { columns: 8 });
    assert_eq!(hash.x.row(0).iter().map(|v| v.abs()).sum::<f64>(), 1.0);
    assert_eq!(hash.x.row(2), [0.0; 8]);
    let y = [1.0, 2.0, 4.0, 0.0, 0.0, 5.0];
    let target = Target { task: Task::Regression, y: &y };
    let fitted = all(vec![Step::Target { smoothing: 0.0, n_folds: 3 }])
        .fit(&Run::new(0), &train, Some(target))
        .unwrap();
    assert_eq!(fitted.transform(&new).unwrap().x.values(), [3.0, 2.0, 2.0, 1.0]);
}

#[test]
fn dates_and_texts() {
    // 2024-02-29 18:00, a Thursday.
    let stamp = 1_709_229_600;
    let frame = Frame::new(vec![
        ("d".into(), Column::Date(vec![Some(stamp), None, Some(stamp - 86_400)])),
        ("t".into(), Column::text([Some("Green tea, green"), None, Some("绿茶")])),
    ])
    .unwrap();
    let parts = vec![
        DatePart::Year,
        DatePart::Month,
        DatePart::DayOfMonth,
        DatePart::Weekday,
        DatePart::Hour,
        DatePart::DayOfYear,
        DatePart::DaysSince,
        DatePart::HourCycle,
    ];
    let recipe = Recipe::default().with(Select::Names(vec!["d".into()]), vec![Step::Dates(parts)]);
    let (fitted, x) = recipe.fit_transform(&Run::new(0), &frame, None).unwrap();
    assert_eq!(x.x.row(0)[..7], [2024.0, 2.0, 29.0, 3.0, 18.0, 60.0, 1.0]);
    assert!((x.x.get(0, 7) + 1.0).abs() < 1e-12 && x.x.get(0, 8).abs() < 1e-12);
    assert!(x.x.row(1).iter().all(|v| v.is_nan()));
    assert_eq!(fitted.needs(), ["d"]);
    let text = |tokens| {
        Recipe::default().with(Select::Names(vec!["t".into()]), vec![Step::Text { tokens, columns: 512 }])
    };
    let (_, x) = text(Tokens::Words).fit_transform(&Run::new(0), &frame, None).unwrap();
    let mut weights: Vec<f64> = x.x.row(0).iter().map(|v| v.abs()).filter(|v| *v > 0.0).collect();
    weights.sort_by(f64::total_cmp);
    assert_eq!(weights.len(), 2);
    assert!((weights[1] / weights[0] - 2.0).abs() < 1e-12, "green stands twice: {weights:?}");
    // Two characters and their pair.
    assert_eq!(x.x.row(2).iter().filter(|v| **v != 0.0).count(), 3);
    assert!(text(Tokens::Own).fit(&Run::new(0), &frame, None).unwrap_err().to_string().contains("hook"));
    let hook = |t: &str| vec![t.len() as u64];
    let (_, x) = text(Tokens::Own).fit_transform_with(&Run::new(0), &frame, None, Some(&hook)).unwrap();
    assert_eq!(x.x.get(0, 16), 1.0);
}

#[test]
fn faults_name_column_row_value_and_remedy() {
    let (frame, y) = mixed(3, 30);
    let target = Target { task: Task::Multiclass, y: &y };
    let fitted = everything().fit(&Run::new(0), &frame, Some(target)).unwrap();
    let with = |name: &str, column: Column| {
        let mut columns = frame.select_rows(&[0, 1]).unwrap().columns().to_vec();
        columns.iter_mut().filter(|(n, _)| n == name).for_each(|(_, c)| *c = column.clone());
        fitted.transform(&Frame::new(columns).unwrap())
    };
    let fault = with("price", Column::text([Some("9.5"), Some("cheap")])).unwrap_err().to_string();
    assert!(
        fault.contains("`price`")
            && fault.contains("row 1")
            && fault.contains("`cheap`")
            && fault.contains("leave it empty"),
        "{fault}"
    );
    // An empty column may hold anything.
    assert!(with("price", Column::text([None::<&str>, None])).is_ok());
    let mut fewer = frame.clone();
    fewer.take("stock").unwrap();
    let fault = fitted.transform(&fewer).unwrap_err().to_string();
    assert!(fault.contains("`stock` is missing") && fault.contains("price, colour"), "{fault}");
    let fit = |recipe: Recipe| recipe.fit(&Run::new(0), &frame, None).unwrap_err().to_string();
    assert!(fit(all(vec![Step::Keep])).contains("`colour` holds text"));
    assert!(fit(everything()).contains("`shop` is to be encoded by the target"));
    assert!(
        fit(all(vec![Step::OneHot { limit: 9, rare: 0 }, Step::Codes { limit: 9 }])).contains("first step")
    );
    assert!(
        fit(Recipe::default().with(Select::Names(vec!["prise".into()]), vec![])).contains("price, stock")
    );
    let faults = fit(all(vec![Step::Hash { columns: 0 }, Step::Cap(Bound::Iqr(-1.0))]));
    assert!(faults.contains("columns = 0") && faults.contains("cap = -1"), "{faults}");
    let log =
        Recipe::default().with(Select::Names(vec!["price".into()]), vec![Step::Scale(Transform::Log1p)]);
    let fitted = log.fit(&Run::new(0), &frame, None).unwrap();
    let bad = Frame::new(vec![("price".into(), Column::Number(vec![1.0, -3.0]))]).unwrap();
    let fault = fitted.transform(&bad).unwrap_err().to_string();
    assert!(fault.contains("`price` in row 1") && fault.contains("-3"), "{fault}");
    let none = frame.select_rows(&[]).unwrap();
    assert!(everything().fit(&Run::new(0), &none, None).is_err());
}

#[test]
fn frames_check_themselves() {
    let number = |n: usize| Column::Number(vec![1.0; n]);
    let fault = |columns| Frame::new(columns).unwrap_err().to_string();
    assert!(
        fault(vec![("a".into(), number(2)), ("a".into(), number(2))]).contains("two columns are named `a`")
    );
    assert!(
        fault(vec![("a".into(), number(2)), ("b".into(), number(3))])
            .contains("`b` has 3 rows where `a` has 2")
    );
    assert!(fault(vec![("a".into(), Column::Number(vec![0.0, f64::INFINITY]))]).contains("row 1"));
    assert!(Words::new(vec![0, 2], vec!["x".into(), "y".into()]).is_err());
    assert!(Frame::new(vec![("a".into(), number(2))]).unwrap().select_rows(&[2]).is_err());
    // A dictionary may name one word twice and hold words of no row.
    let twice = Words::new(vec![0, 1, 2], vec!["x".into(), "y".into(), "x".into(), "z".into()]).unwrap();
    let frame = Frame::new(vec![("w".into(), Column::Text(twice))]).unwrap();
    let (_, x) =
        all(vec![Step::OneHot { limit: 9, rare: 0 }]).fit_transform(&Run::new(0), &frame, None).unwrap();
    assert_eq!(x.names, ["w=x", "w=y"]);
    assert_eq!(x.x.values(), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn products_of_prepared_columns() {
    let frame = numbers(&[vec![1.0, 2.0], vec![3.0, 4.0]]);
    let mut recipe = all(vec![Step::Keep]);
    recipe.whole = vec![Whole::Polynomial(Polynomial { degree: 2, interaction_only: true })];
    let (fitted, x) = recipe.fit_transform(&Run::new(0), &frame, None).unwrap();
    assert_eq!(x.names, ["x0", "x1", "x0 x1"]);
    assert_eq!(fitted.transform(&frame).unwrap().x.row(1), [3.0, 4.0, 12.0]);
}

#[test]
fn prepared_columns_read_as_words() {
    let frame = Frame::new(vec![
        ("kind".into(), Column::text([Some("red"), Some("blue"), Some("red"), None])),
        ("size".into(), Column::text([Some("s"), Some("m"), Some("l"), Some("s")])),
        ("grade".into(), Column::text([Some("b"), Some("a"), Some("b"), Some("a")])),
        ("price".into(), Column::Number(vec![1.0, 2.0, f64::NAN, 4.0])),
    ])
    .unwrap();
    let names = |name: &str| Select::Names(vec![name.into()]);
    let mut recipe = Recipe::default()
        .with(names("kind"), vec![Step::Codes { limit: 10 }])
        .with(names("size"), vec![Step::OneHot { limit: 2, rare: 0 }])
        .with(names("grade"), vec![Step::Codes { limit: 10 }, Step::Scale(Transform::Standard)])
        .with(names("price"), vec![Step::Impute { with: Fill::Mean, by: None, mark: true }]);
    recipe.whole.push(Whole::DropConstant);
    let (fitted, x) = recipe.fit_transform(&Run::new(0), &frame, None).unwrap();
    let readings = fitted.readings();
    let shown: Vec<String> = (0..x.names.len())
        .map(|j| {
            let value = Some(x.x.get(0, j)).filter(|v| !v.is_nan());
            readings[j].equation(&x.names[j], value, |v| format!("{v:.1}"))
        })
        .collect();
    // Grade b is code 1 of two, so 1 after the scale: a number, and no word.
    let expected =
        ["kind = red", "size = s", "size ≠ (rare)", "grade = 1.0", "price = 1.0", "price_missing = 0.0"];
    assert_eq!(shown, expected);
    assert_eq!(readings[0], Reading::Words(vec!["blue".into(), "red".into()]));
    assert_eq!(readings[0].equation("kind", None, |v| v.to_string()), "kind = ?");
    assert_eq!((readings[0].word(0.5), readings[0].word(2.0), readings[0].word(-1.0)), (None, None, None));
    assert_eq!(readings[1].title(&x.names[1]), "size = s");
    // Saved and read back it says the same.
    let text = serde_json::to_string(&fitted).unwrap();
    assert_eq!(serde_json::from_str::<FittedRecipe>(&text).unwrap().readings(), readings);
}

#[test]
fn many_categories_stay_what_they_are_where_they_are_borne() {
    let names: Vec<String> = (0..6_000).map(|i| format!("item{}", i % 1_500)).collect();
    let frame = Frame::new(vec![
        ("item".into(), Column::text(names.iter().map(|n| Some(n.as_str())))),
        ("seen".into(), Column::Flag((0..6_000).map(|i| (i % 5 > 0).then_some(i % 2 == 0)).collect())),
    ])
    .unwrap();
    let y: Vec<f64> = (0..6_000).map(|i| f64::from(i % 2)).collect();
    let of = |name: &str| {
        let recipe = Recipe::standard(&frame, tradewind_learn::entry(name).unwrap().bears, true);
        let target = Target { task: Task::Binary, y: &y };
        recipe.fit_transform(&Run::new(1), &frame, Some(target)).unwrap().1
    };
    let (fields, means) = (of("click_rate"), of("boosting"));
    assert_eq!(
        (fields.names, fields.kinds),
        (vec!["item".into(), "seen".into()], vec![ColumnKind::Category; 2])
    );
    let codes: std::collections::BTreeSet<u64> = (0..6_000).map(|i| fields.x.get(i, 0).to_bits()).collect();
    assert_eq!(codes.len(), 1_500);
    assert!(fields.x.get(0, 1).is_nan() && fields.x.get(1, 1) != fields.x.get(2, 1));
    assert_eq!(means.names, ["item_target", "seen"]);
}
