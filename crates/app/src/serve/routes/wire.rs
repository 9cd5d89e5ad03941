//! What requests and answers of several routes have in common. Wire types are the app's own: what models hold inside may
//! change, these may not.

use crate::serve::problem::Problem;
use serde::{Deserialize, Serialize};
use tradewind::ErrorKind;
use tradewind::ops::registry::Page;
use tradewind::ops::traffic::WHOLE;
use tradewind::serving::Identity;
use tradewind::trends::By;
use tradewind::wording::Language;
use utoipa::{IntoParams, ToSchema};

/// Which version answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelRef {
    /// The model's name in the registry.
    #[schema(example = "forecasts")]
    pub(crate) name: String,
    /// The version's number.
    #[schema(example = 3)]
    pub(crate) version: u64,
    /// The fingerprint of the version's artifact.
    pub(crate) artifact: String,
}

impl From<&Identity> for ModelRef {
    fn from(identity: &Identity) -> Self {
        Self {
            name: identity.model.clone(),
            version: identity.version,
            artifact: identity.artifact_hash.clone(),
        }
    }
}

/// The language of sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LanguageParam {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl From<LanguageParam> for Language {
    fn from(language: LanguageParam) -> Self {
        match language {
            LanguageParam::En => Self::En,
            LanguageParam::Zh => Self::Zh,
        }
    }
}

/// What a series is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupParam {
    /// Each product.
    #[default]
    Product,
    /// Each category.
    Category,
    /// Each store.
    Store,
    /// Each word that stands in several titles.
    Word,
}

impl From<GroupParam> for By {
    fn from(group: GroupParam) -> Self {
        match group {
            GroupParam::Product => Self::Product,
            GroupParam::Category => Self::Category,
            GroupParam::Store => Self::Store,
            GroupParam::Word => Self::Word,
        }
    }
}

impl From<By> for GroupParam {
    fn from(by: By) -> Self {
        match by {
            By::Product => Self::Product,
            By::Category => Self::Category,
            By::Store => Self::Store,
            By::Word => Self::Word,
        }
    }
}

/// Items of one page at most.
pub(crate) const LIMIT_MAX: usize = 1_000;
/// Items of a page when nothing is said.
pub(crate) const LIMIT: usize = 50;

/// Which part of a list is wanted, checked.
///
/// # Errors
/// A limit of none or too many.
pub(crate) fn page(offset: Option<usize>, limit: Option<usize>) -> tradewind::Result<(usize, usize)> {
    let limit = limit.unwrap_or(LIMIT);
    let mut check = tradewind::core::ParamCheck::new();
    check.require((1..=LIMIT_MAX).contains(&limit), "limit", limit, "1 to 1000").finish()?;
    Ok((offset.unwrap_or(0), limit))
}

/// The offset of the next page, where there is one.
pub(crate) fn next(offset: usize, shown: usize, total: usize) -> Option<usize> {
    let next = offset.saturating_add(shown);
    (shown > 0 && next < total).then_some(next)
}

/// A list with commas between its entries.
pub(crate) fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|t| !t.is_empty())
}

/// Numbers with commas between them.
///
/// # Errors
/// An entry that is no number.
pub(crate) fn numbers(name: &str, text: &str) -> tradewind::Result<Vec<f64>> {
    listed(text)
        .map(|t| {
            t.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| {
                tradewind::Error::asked(
                    format!("{name} holds an entry that is no number"),
                    format!("write it as {name}=0.1,0.9"),
                )
            })
        })
        .collect()
}

/// Which part of a list that goes on by names or numbers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The `next` of the page before.
    after: Option<String>,
    /// Entries of a page.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

impl From<PageQuery> for Page {
    fn from(query: PageQuery) -> Self {
        Self { after: query.after, limit: query.limit }
    }
}

/// Entries of a page where nothing is said.
pub(crate) fn usual_page() -> u32 {
    100
}

/// Hundredths of a percent, where the number is one.
///
/// # Errors
/// A number outside 0 to 100, or finer than a hundredth.
pub(crate) fn hundredths(field: &str, percent: f64) -> Result<u32, Problem> {
    let scaled = percent * 100.0;
    if (0.0..=f64::from(WHOLE)).contains(&scaled) && (scaled - scaled.round()).abs() < 1e-6 {
        return Ok(scaled.round() as u32);
    }
    let detail = "percent from 0 to 100, to a hundredth";
    Err(Problem::new(ErrorKind::InvalidParams, format!("`{field}` must be {detail}")).field(field, detail))
}

/// Serialises an answer.
///
/// # Errors
/// None in practice: wire types have text keys.
pub(crate) fn json(answer: &impl Serialize) -> tradewind::Result<Vec<u8>> {
    serde_json::to_vec(answer).map_err(|source| {
        tradewind::Error::Core(tradewind::core::Error::Saved { what: "answer".to_owned(), source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end() {
        assert_eq!(page(None, None).expect("a page"), (0, LIMIT));
        assert!(page(None, Some(0)).is_err() && page(Some(5), Some(1001)).is_err());
        assert_eq!((next(0, 50, 120), next(100, 20, 120), next(500, 0, 120)), (Some(50), None, None));
        assert_eq!(numbers("levels", "0.1, 0.9,").expect("numbers"), [0.1, 0.9]);
        assert!(numbers("levels", "0.1,x").is_err() && numbers("levels", "nan").is_err());
    }
}
