//! Steps on the whole matrix: nearest neighbours for gaps, constant columns, products.

use crate::matrix::{ColumnKind, Matrix};
use crate::polynomial::FittedPolynomial;
use crate::prepare::Whole;
use crate::prepare::fitted::Prepared;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tradewind_core::{Error, Result, Run};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FittedWhole {
    Nearest { k: usize, n_cols: usize, rows: Vec<Vec<Option<f64>>>, means: Vec<f64> },
    Columns(Vec<usize>),
    Products(FittedPolynomial),
}

impl FittedWhole {
    pub(super) fn fit(whole: &Whole, data: &Prepared) -> Result<Self> {
        let x = &data.x;
        match whole {
            Whole::ImputeNearest { k, rows_max } => {
                let (n, kept) = (x.n_rows(), x.n_rows().min(*rows_max));
                let rows = (0..kept)
                    .map(|r| x.row(r * n / kept).iter().map(|v| (!v.is_nan()).then_some(*v)).collect())
                    .collect();
                let means = (0..x.n_cols())
                    .map(|j| {
                        let there = super::numeric::present(&x.column(j));
                        if there.is_empty() { 0.0 } else { there.iter().sum::<f64>() / there.len() as f64 }
                    })
                    .collect();
                Ok(Self::Nearest { k: *k, n_cols: x.n_cols(), rows, means })
            }
            Whole::DropConstant => Ok(Self::Columns(
                (0..x.n_cols())
                    .filter(|&j| {
                        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
                        (1..x.n_rows()).any(|i| !same(x.get(i, j), x.get(0, j)))
                    })
                    .collect(),
            )),
            Whole::Polynomial(p) => {
                if let Some(j) = data.kinds.iter().position(|k| *k == ColumnKind::Category) {
                    return Err(Error::Invalid(format!(
                        "column `{}` holds category codes, which cannot be multiplied; encode it one-hot",
                        data.names[j]
                    )));
                }
                Ok(Self::Products(p.fit(x.n_cols())?))
            }
        }
    }

    pub(super) fn apply(&self, run: &Run, mut data: Prepared) -> Result<Prepared> {
        match self {
            Self::Columns(columns) => Ok(Prepared {
                x: data.x.select_columns(columns),
                names: columns.iter().map(|&j| data.names[j].clone()).collect(),
                kinds: columns.iter().map(|&j| data.kinds[j]).collect(),
            }),
            Self::Products(p) => {
                data.x.check_finite(&data.names)?;
                let x = p.transform(&data.x)?;
                Ok(Prepared { names: p.names(&data.names), kinds: vec![ColumnKind::Number; x.n_cols()], x })
            }
            Self::Nearest { k, n_cols, rows, means } => {
                data.x.check_width(*n_cols, "the imputation by neighbours")?;
                if *n_cols == 0 {
                    return Ok(data);
                }
                let number: Vec<bool> = data.kinds.iter().map(|k| *k == ColumnKind::Number).collect();
                let old: &Matrix = &data.x;
                // Each row looks at the kept training rows alone, so that the order of work does not matter.
                let filled: Result<Vec<Vec<f64>>> = run.install(|| {
                    (0..old.n_rows())
                        .into_par_iter()
                        .map(|i| {
                            run.check()?;
                            Ok(fill_row(old.row(i), *k, rows, means, &number))
                        })
                        .collect()
                });
                data.x = Matrix::new(old.n_rows(), *n_cols, filled?.concat())?;
                Ok(data)
            }
        }
    }
}

fn fill_row(row: &[f64], k: usize, rows: &[Vec<Option<f64>>], means: &[f64], number: &[bool]) -> Vec<f64> {
    let mut out = row.to_vec();
    if !(0..row.len()).any(|j| number[j] && row[j].is_nan()) {
        return out;
    }
    // The squared distance over what both have, scaled up to all columns; categories count 0 or 1.
    let mut near: Vec<(f64, usize)> = Vec::with_capacity(rows.len());
    for (r, other) in rows.iter().enumerate() {
        let (mut sum, mut both) = (0.0, 0.0);
        for j in 0..row.len() {
            if let Some(o) = other[j].filter(|_| !row[j].is_nan()) {
                let d = row[j] - o;
                sum += if number[j] { d * d } else { f64::from(u8::from(d != 0.0)) };
                both += 1.0;
            }
        }
        if both > 0.0 {
            near.push((sum * row.len() as f64 / both, r));
        }
    }
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for j in (0..row.len()).filter(|&j| number[j] && row[j].is_nan()) {
        let donors: Vec<f64> = near.iter().filter_map(|(_, r)| rows[*r][j]).take(k).collect();
        out[j] = if donors.is_empty() { means[j] } else { donors.iter().sum::<f64>() / donors.len() as f64 };
    }
    out
}
