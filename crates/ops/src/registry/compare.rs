//! Two versions side by side.

use super::manifest::FileEntry;
use super::{Reference, Registry, Version};
use crate::error::Result;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How two versions differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The first.
    pub left: Version,
    /// The second.
    pub right: Version,
    /// Whether they are the same artifact.
    pub same_artifact: bool,
    /// Whether they were fitted on the same data.
    pub same_data: bool,
    /// Every metric that one of them has, by name.
    pub metrics: Vec<MetricDifference>,
    /// The parameters that differ, by path.
    pub params: Vec<ParamDifference>,
    /// The files that differ, by path.
    pub files: Vec<FileDifference>,
}

/// A metric of two versions.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricDifference {
    /// Its name.
    pub name: String,
    /// Of the first.
    pub left: Option<f64>,
    /// Of the second.
    pub right: Option<f64>,
}

impl MetricDifference {
    /// The second minus the first, where both have it.
    pub fn change(&self) -> Option<f64> {
        Some(self.right? - self.left?)
    }
}

/// A parameter that two versions do not share.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamDifference {
    /// Where it stands in the parameters, as a JSON pointer (`/model/alpha`).
    pub path: String,
    /// In the first.
    pub left: Option<Value>,
    /// In the second.
    pub right: Option<Value>,
}

/// A file that two versions do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDifference {
    /// Its path.
    pub path: String,
    /// Its bytes in the first.
    pub left: Option<u64>,
    /// Its bytes in the second.
    pub right: Option<u64>,
}

impl Registry {
    /// How two versions, also of different models, differ.
    ///
    /// # Errors
    /// No such version.
    pub async fn compare(&self, left: &Reference, right: &Reference) -> Result<Comparison> {
        let (left, right) = (self.version(left).await?, self.version(right).await?);
        let (a, b) = (&left.manifest, &right.manifest);
        let names: BTreeSet<&String> = a.metrics.keys().chain(b.metrics.keys()).collect();
        let metrics = names
            .into_iter()
            .map(|name| MetricDifference {
                name: name.clone(),
                left: a.metrics.get(name).copied(),
                right: b.metrics.get(name).copied(),
            })
            .collect();
        let mut params = Vec::new();
        differ(Some(&a.params), Some(&b.params), String::new(), &mut params);
        Ok(Comparison {
            same_artifact: left.artifact_hash == right.artifact_hash,
            same_data: a.data_fingerprint == b.data_fingerprint,
            metrics,
            params,
            files: files(&a.files, &b.files),
            left,
            right,
        })
    }
}

fn differ(left: Option<&Value>, right: Option<&Value>, path: String, out: &mut Vec<ParamDifference>) {
    match (left, right) {
        (Some(a), Some(b)) if a == b => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let inner = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                differ(a.get(key), b.get(key), inner, out);
            }
        }
        _ => out.push(ParamDifference { path, left: left.cloned(), right: right.cloned() }),
    }
}

fn files(left: &[FileEntry], right: &[FileEntry]) -> Vec<FileDifference> {
    let by_path = |files: &[FileEntry]| -> BTreeMap<String, FileEntry> {
        files.iter().map(|f| (f.path.clone(), f.clone())).collect()
    };
    let (left, right) = (by_path(left), by_path(right));
    let paths: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    paths
        .into_iter()
        .filter(|&path| left.get(path) != right.get(path))
        .map(|path| FileDifference {
            path: path.clone(),
            left: left.get(path).map(|f| f.bytes),
            right: right.get(path).map(|f| f.bytes),
        })
        .collect()
}
