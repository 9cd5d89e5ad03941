//! A mapping bound to the columns of one source: names become positions, once for a file.

use crate::error::{IngestError, Result};
use crate::mapping::{
    Choose, ColumnMapping, Condition, Increase, Lookup, Mapping, Names, TableMapping, folded,
};
use crate::source::Reason;
use std::collections::HashMap;
use tradewind_core::tables::{ColumnSpec, TableSpec};

/// How one table is filled from one source.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) spec: &'static TableSpec,
    pub(crate) aside: bool,
    pub(crate) once_per_key: bool,
    pub(crate) skip: Vec<Test>,
    pub(crate) reject: Vec<(Test, Reason)>,
    /// The melted columns; `@name` and `@value` then stand behind the source's columns.
    pub(crate) melt: Vec<usize>,
    pub(crate) increase: Option<Increase>,
    /// In the order of the table's columns; those without a source are left out.
    pub(crate) columns: Vec<BoundColumn>,
}

/// How one canonical column is filled.
#[derive(Clone, Debug)]
pub(crate) struct BoundColumn {
    pub(crate) position: usize,
    pub(crate) spec: &'static ColumnSpec,
    /// Whether a row without it is rejected.
    pub(crate) required: bool,
    pub(crate) value: Value,
    pub(crate) cases: Vec<(Test, String)>,
    pub(crate) how: ColumnMapping,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Nothing,
    Column(usize),
    Constant(String),
    Join(Vec<usize>, String),
    Multiply(Vec<usize>),
    Divide(usize, usize),
    Sum(Vec<usize>),
    Json(Vec<(String, usize)>),
}

/// A condition on one column.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) column: usize,
    pub(crate) condition: Condition,
}

impl Value {
    pub(crate) fn columns(&self) -> Vec<usize> {
        match self {
            Self::Nothing | Self::Constant(_) => vec![],
            Self::Column(c) => vec![*c],
            Self::Join(c, _) | Self::Multiply(c) | Self::Sum(c) => c.clone(),
            Self::Divide(a, b) => vec![*a, *b],
            Self::Json(c) => c.iter().map(|c| c.1).collect(),
        }
    }
}

impl Rule {
    /// Which of the source's `n` columns it reads.
    pub(crate) fn uses(&self, n: usize) -> Vec<bool> {
        let mut uses = vec![false; n];
        let tests = self.skip.iter().chain(self.reject.iter().map(|r| &r.0));
        let tests = tests.chain(self.columns.iter().flat_map(|c| c.cases.iter().map(|c| &c.0)));
        let of_columns = self.columns.iter().flat_map(|c| c.value.columns());
        for c in tests.map(|t| t.column).chain(of_columns).chain(self.melt.iter().copied()) {
            if let Some(mark) = uses.get_mut(c) {
                *mark = true;
            }
        }
        uses
    }

    /// The lookups it makes.
    pub(crate) fn lookups(&self) -> impl Iterator<Item = &Lookup> {
        self.columns.iter().filter_map(|c| c.how.lookup.as_ref())
    }
}

struct Header<'a> {
    columns: &'a [String],
    positions: HashMap<String, usize>,
    melted: bool,
}

impl Header<'_> {
    fn find(&self, names: &Names) -> Option<usize> {
        names.0.iter().find_map(|name| match name.as_str() {
            "@name" => self.melted.then_some(self.columns.len()),
            "@value" => self.melted.then_some(self.columns.len() + 1),
            _ => self.positions.get(&folded(name)).copied(),
        })
    }

    fn all(&self, names: &[Names]) -> Option<Vec<usize>> {
        names.iter().map(|n| self.find(n)).collect()
    }
}

/// The rules of a mapping that fit these columns.
///
/// # Errors
/// When none fits; the error tells what the nearest one lacks.
pub(crate) fn bind(mapping: &Mapping, columns: &[String], file: &str) -> Result<Vec<Rule>> {
    let mut positions = HashMap::new();
    for (i, name) in columns.iter().enumerate() {
        positions.entry(folded(name)).or_insert(i);
    }
    let mut rules = Vec::new();
    let mut nearest: Option<(usize, String)> = None;
    for table in &mapping.tables {
        match bind_table(table, columns, &positions) {
            Ok(rule) => rules.push(rule),
            Err(lacking) => {
                let n = lacking.len();
                if nearest.as_ref().is_none_or(|(least, _)| n < *least) {
                    nearest = Some((n, format!("`{}` needs {}", table.table, lacking.join(", "))));
                }
            }
        }
    }
    if mapping.choose == Choose::Best && rules.len() > 1 {
        // Most columns used; of equals, the table with more required columns says more about the file.
        let worth = |r: &Rule| {
            let used = r.uses(columns.len()).iter().filter(|u| **u).count();
            (used, r.spec.columns.iter().filter(|c| c.required).count())
        };
        let best = rules.iter().map(worth).max().unwrap_or_default();
        let at = rules.iter().position(|r| worth(r) == best).unwrap_or(0);
        rules = vec![rules.swap_remove(at)];
    }
    if rules.is_empty() {
        let shown = 40;
        let mut listed = columns.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
        if columns.len() > shown {
            listed += &format!(", … ({} columns)", columns.len());
        }
        return Err(IngestError::NoTable {
            file: file.to_owned(),
            mapping: mapping.name.clone(),
            needed: nearest.map_or_else(|| "it fills no table".to_owned(), |n| n.1),
            columns: listed,
        });
    }
    // The sort keeps the mapping's order among equals. What is filled by the way comes last, since a line rejected
    // before gives it nothing; and it counts fully when there is nothing else.
    rules.sort_by_key(|r| r.aside);
    if rules.iter().all(|r| r.aside) {
        rules.iter_mut().for_each(|r| r.aside = false);
    }
    Ok(rules)
}

/// Binds one table, or says what it lacks.
fn bind_table(
    table: &TableMapping,
    columns: &[String],
    positions: &HashMap<String, usize>,
) -> Result<Rule, Vec<String>> {
    let Some(spec) = TableSpec::named(&table.table) else {
        return Err(vec![format!("a table `{}`", table.table)]);
    };
    let mut lacking = Vec::new();
    let tell = |names: &Names| format!("a column `{}`", names.0.join("` or `"));
    let melt = match &table.melt {
        None => vec![],
        Some(melt) => {
            let found: Vec<usize> = match &melt.prefix {
                Some(prefix) => (0..columns.len())
                    .filter(|i| {
                        columns[*i]
                            .strip_prefix(prefix.as_str())
                            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
                    })
                    .collect(),
                None => melt.columns.iter().filter_map(|c| positions.get(&folded(c)).copied()).collect(),
            };
            if found.is_empty() {
                lacking.push(match &melt.prefix {
                    Some(prefix) => format!("columns `{prefix}1`, `{prefix}2`, …"),
                    None => format!("one of the columns {}", melt.columns.join(", ")),
                });
            }
            found
        }
    };
    let header = Header { columns, positions: positions.clone(), melted: !melt.is_empty() };
    lacking.extend(table.needs.iter().filter(|n| header.find(n).is_none()).map(tell));
    lacking.extend(
        table
            .lacks
            .iter()
            .filter(|n| header.find(n).is_some())
            .map(|n| format!("no column `{}`", n.0.join("` or `"))),
    );
    let mut bound = Vec::new();
    for (position, column) in spec.columns.iter().enumerate() {
        let own = ColumnMapping { from: Names::from(column.name), ..ColumnMapping::default() };
        let how = match table.columns.get(column.name) {
            Some(how) => how,
            None if table.same_names => &own,
            None if column.required => {
                lacking.push(format!("a rule for `{}`", column.name));
                continue;
            }
            None => continue,
        };
        let required = column.required || how.required;
        let (value, lacks) = bind_value(how, &header);
        match value {
            Some(value) => {
                let cases =
                    how.cases.iter().filter_map(|c| Some((test(c, &header)?, c.value.clone()?))).collect();
                bound.push(BoundColumn { position, spec: column, required, value, cases, how: how.clone() });
            }
            None if required => lacking.extend(lacks.iter().map(tell)),
            None => {}
        }
    }
    if !lacking.is_empty() {
        return Err(lacking);
    }
    Ok(Rule {
        spec,
        aside: table.aside,
        once_per_key: table.once_per_key,
        skip: table.skip.iter().filter_map(|c| test(c, &header)).collect(),
        reject: table
            .reject
            .iter()
            .filter_map(|c| Some((test(c, &header)?, Reason::Excluded(c.reason.clone()?))))
            .collect(),
        melt,
        increase: table.increase.clone(),
        columns: bound,
    })
}

fn test(condition: &Condition, header: &Header<'_>) -> Option<Test> {
    Some(Test { column: header.find(&condition.column)?, condition: condition.clone() })
}

/// The value, or the names that were looked for in vain.
fn bind_value(how: &ColumnMapping, header: &Header<'_>) -> (Option<Value>, Vec<Names>) {
    let missing =
        |names: &[Names]| names.iter().filter(|n| header.find(n).is_none()).cloned().collect::<Vec<_>>();
    if !how.from.is_empty() {
        return (header.find(&how.from).map(Value::Column), vec![how.from.clone()]);
    }
    if let Some(constant) = &how.constant {
        return (Some(Value::Constant(constant.clone())), vec![]);
    }
    if !how.join.is_empty() {
        let separator = how.separator.clone().unwrap_or_else(|| "_".into());
        return (header.all(&how.join).map(|c| Value::Join(c, separator)), missing(&how.join));
    }
    if !how.multiply.is_empty() {
        return (header.all(&how.multiply).map(Value::Multiply), missing(&how.multiply));
    }
    if let [a, b] = how.divide.as_slice() {
        let value = header.find(a).zip(header.find(b)).map(|(a, b)| Value::Divide(a, b));
        return (value, missing(&how.divide));
    }
    if !how.sum.is_empty() {
        let present: Vec<usize> = how.sum.iter().filter_map(|n| header.find(n)).collect();
        return ((!present.is_empty()).then_some(Value::Sum(present)), missing(&how.sum));
    }
    if !how.json.is_empty() {
        let present: Vec<(String, usize)> = how
            .json
            .iter()
            .filter_map(|n| header.find(n))
            .map(|c| (header.columns.get(c).cloned().unwrap_or_else(|| "value".into()), c))
            .collect();
        return ((!present.is_empty()).then_some(Value::Json(present)), missing(&how.json));
    }
    let any = how.cases.iter().any(|c| header.find(&c.column).is_some());
    (any.then_some(Value::Nothing), how.cases.iter().map(|c| c.column.clone()).collect())
}
