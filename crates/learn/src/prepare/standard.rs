//! The recipe that is taken when none is given.

use crate::frame::{Column, Frame, Words};
use crate::learner::Bears;
use crate::matrix::CATEGORY_MAX;
use crate::prepare::{DatePart, Fill, Recipe, Select, Step, Whole};
use crate::transform::Transform;

/// Categories that still get a column each.
const ONE_HOT_MAX: usize = 50;
/// Categories that still get codes.
const CODES_MAX: usize = 1000;
/// Mean letters of a text from which it is read and not taken as a category.
const TEXT_LETTERS: usize = 25;
/// Rows that the mean of all counts for in target encoding.
const SMOOTHING: f64 = 10.0;

impl Recipe {
    /// A sensible recipe for an estimator that bears this.
    ///
    /// | column | the estimator bears it | it does not |
    /// |---|---|---|
    /// | number | as it is | median with a mark for gaps, standard scale where scale matters |
    /// | flag | 0 and 1 | gaps get the more frequent |
    /// | up to 1000 (codes), 50 (one-hot) categories | codes | one-hot |
    /// | more categories, of which it bears many | codes of the 65,534 most frequent | |
    /// | more categories | by the target (10 rows of smoothing, 5 folds), hashed into 32 without a target | the same |
    /// | long texts, mostly different | 64 hashed columns | the same |
    /// | date | year, month, day, weekday, hour, days | the same with cycles, scaled |
    ///
    /// Text columns that differ in every row and are short are names of the row and are left out; constant columns too.
    pub fn standard(frame: &Frame, bears: Bears, has_target: bool) -> Self {
        let mut recipe = Self::default();
        let fill = |with: Fill, mark: bool| Step::Impute { with, by: None, mark };
        let mut finish = Vec::new();
        if !bears.missing {
            finish.push(fill(Fill::Median, true));
        }
        if !bears.any_scale {
            finish.push(Step::Scale(Transform::Standard));
        }
        for (name, column) in frame.columns() {
            let steps = match column {
                Column::Number(_) if finish.is_empty() => vec![Step::Keep],
                Column::Number(_) => match bears.any_scale {
                    true => finish.clone(),
                    // A standardised mark would only hide that it is one.
                    false => vec![Step::Scale(Transform::Standard), fill(Fill::Median, true)]
                        .into_iter()
                        .filter(|s| !(bears.missing && matches!(s, Step::Impute { .. })))
                        .collect(),
                },
                // With it flags are fields too, whose pairs may matter.
                Column::Flag(_) if bears.many_categories => vec![Step::Codes { limit: 2 }],
                Column::Flag(_) if bears.missing => vec![Step::Keep],
                Column::Flag(_) => vec![fill(Fill::Mode, true)],
                Column::Date(_) => {
                    let mut parts =
                        vec![DatePart::Year, DatePart::DayOfMonth, DatePart::DaysSince, DatePart::Hour];
                    match bears.any_scale {
                        true => parts.extend([DatePart::Month, DatePart::Weekday]),
                        false => parts.extend([DatePart::MonthCycle, DatePart::WeekdayCycle]),
                    }
                    let mut steps = vec![Step::Dates(parts)];
                    steps.extend(finish.iter().cloned().map(|s| match s {
                        // All parts are missing together; one mark less each.
                        Step::Impute { with, by, .. } => Step::Impute { with, by, mark: false },
                        other => other,
                    }));
                    steps
                }
                Column::Text(words) => match of_text(words, bears, has_target) {
                    None => continue,
                    Some(step) => vec![step],
                },
            };
            recipe = recipe.with(Select::Names(vec![name.clone()]), steps);
        }
        recipe.whole.push(Whole::DropConstant);
        recipe
    }
}

fn of_text(words: &Words, bears: Bears, has_target: bool) -> Option<Step> {
    let mut seen = vec![false; words.words().len()];
    let there = words.codes().iter().filter_map(|c| seen.get_mut(*c as usize).map(|s| *s = true)).count();
    let distinct: Vec<&String> =
        words.words().iter().zip(&seen).filter(|(_, s)| **s).map(|(w, _)| w).collect();
    let letters: usize = distinct.iter().map(|w| w.chars().count()).sum();
    let n = distinct.len();
    if n > ONE_HOT_MAX && 2 * n > there && letters > TEXT_LETTERS * n {
        return Some(Step::Text { tokens: super::Tokens::Words, columns: 64 });
    }
    if n > ONE_HOT_MAX && n == there {
        return None;
    }
    if bears.categories && bears.missing && bears.many_categories {
        return Some(Step::Codes { limit: CATEGORY_MAX });
    }
    if bears.categories && bears.missing && n <= CODES_MAX {
        return Some(Step::Codes { limit: CODES_MAX });
    }
    if n <= ONE_HOT_MAX {
        return Some(Step::OneHot { limit: ONE_HOT_MAX, rare: 0 });
    }
    Some(match has_target {
        true => Step::Target { smoothing: SMOOTHING, n_folds: 5 },
        false => Step::Hash { columns: 32 },
    })
}
