//! Clusterings and reductions against other implementations (`reference/clusters.py` names them and their versions),
//! and the laws they keep.

use proptest::prelude::*;
use serde_json::Value;
use tradewind_core::Run;
use tradewind_learn::cluster::choose::{ChooseK, Rule};
use tradewind_learn::cluster::dbscan::Dbscan;
use tradewind_learn::cluster::gaussian_mixture::{Covariance, GaussianMixture};
use tradewind_learn::cluster::hdbscan::{Choice, Hdbscan};
use tradewind_learn::cluster::hierarchical::{Hierarchical, Linkage};
use tradewind_learn::cluster::kmeans::{Algorithm, KMeans, Start};
use tradewind_learn::cluster::measures;
use tradewind_learn::cluster::mini_batch::MiniBatchKMeans;
use tradewind_learn::reduce::Solver;
use tradewind_learn::reduce::pca::Pca;
use tradewind_learn::reduce::truncated_svd::TruncatedSvd;
use tradewind_learn::{Dataset, Matrix};

fn reference() -> Value {
    serde_json::from_str(include_str!("../reference/clusters.json")).unwrap()
}

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn whole(v: &Value) -> Vec<i64> {
    v.as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
}

fn matrix(v: &Value) -> Matrix {
    Matrix::from_rows(&v.as_array().unwrap().iter().map(list).collect::<Vec<_>>()).unwrap()
}

fn data(x: Matrix) -> Dataset {
    let n = x.n_rows();
    Dataset::new(x, vec![0.0; n], vec![]).unwrap()
}

fn signed(labels: &[usize]) -> Vec<i64> {
    labels.iter().map(|l| *l as i64).collect()
}

/// Relative to values above 1, absolute below.
#[track_caller]
fn near(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * w.abs().max(1.0), "{what} {i}: got {g}, reference {w}");
    }
}

#[test]
fn kmeans_as_scikit_learn() {
    let r = reference();
    for (name, want) in r["kmeans"].as_object().unwrap() {
        let mut data = data(matrix(&r["x"]));
        if name == "weighted" {
            data = data.with_weight(list(&r["w"])).unwrap();
        }
        for algorithm in [Algorithm::Lloyd, Algorithm::Hamerly] {
            let params = KMeans { algorithm, ..KMeans::default() };
            let model = params.fit_from(&Run::new(0), &data, &matrix(&want["starts"])).unwrap();
            assert_eq!(model.n_iter() as u64, want["n_iter"].as_u64().unwrap(), "{name}");
            near(name, model.centers().values(), matrix(&want["centers"]).values(), 1e-9);
            near(name, &[model.inertia()], &[want["inertia"].as_f64().unwrap()], 1e-9);
            assert!(model.converged() && model.sizes().iter().all(|s| *s > 0.0), "{name}");
        }
    }
}

#[test]
fn linkage_and_dendrogram_as_scipy() {
    let r = reference();
    let few = data(matrix(&r["x"]).select_rows(&(0..40).collect::<Vec<_>>()));
    for (name, linkage) in [
        ("ward", Linkage::Ward),
        ("average", Linkage::Average),
        ("complete", Linkage::Complete),
        ("single", Linkage::Single),
    ] {
        let want = &r["linkage"][name];
        let params = Hierarchical { linkage, n_clusters: 5, ..Hierarchical::default() };
        let model = params.fit(&Run::new(0), &few).unwrap();
        let got: Vec<[f64; 4]> =
            model.merges().iter().map(|m| [m.left as f64, m.right as f64, m.height, m.size as f64]).collect();
        near(name, got.as_flattened(), matrix(&want["z"]).values(), 1e-9);
        assert_eq!(signed(model.labels()), whole(&want["by_number"]), "{name}");
        let height = want["height"].as_f64().unwrap();
        assert_eq!(signed(&model.cut_height(height)), whole(&want["by_height"]), "{name}");
        let tree = model.dendrogram();
        assert_eq!(signed(&tree.order), whole(&want["leaves"]), "{name}");
        let mut bars: Vec<[f64; 2]> =
            tree.brackets.iter().map(|b| [f64::midpoint(b.x[0], b.x[1]), b.height]).collect();
        bars.sort_by(|a, b| a.partial_cmp(b).unwrap());
        near(name, bars.as_flattened(), matrix(&want["bars"]).values(), 1e-5);
        assert_eq!(model.predict(few.x()).unwrap(), model.labels(), "{name}");
    }
}

#[test]
fn dbscan_as_scikit_learn() {
    let r = reference();
    let plain = data(matrix(&r["x"]));
    let weighted = plain.clone().with_weight(list(&r["w"])).unwrap();
    for (name, eps, data) in [("dbscan", 1.1, plain), ("dbscan_weighted", 1.0, weighted)] {
        let model = Dbscan { eps, min_rows: 6 }.fit(&Run::new(0), &data).unwrap();
        assert_eq!(model.labels(), whole(&r[name]["labels"]), "{name}");
        assert_eq!(signed(model.core_rows()), whole(&r[name]["core"]), "{name}");
        // Core rows find their own cluster again, and rows in none stay in none.
        let again = model.predict(data.x()).unwrap();
        for i in 0..data.n_rows() {
            if model.core_rows().contains(&i) || model.labels()[i] == -1 {
                assert_eq!(again[i], model.labels()[i], "{name} row {i}");
            }
        }
    }
}

#[test]
fn hdbscan_as_scikit_learn() {
    let r = reference();
    let data = data(matrix(&r["x"]));
    for want in r["hdbscan"].as_array().unwrap() {
        let params = Hdbscan {
            min_cluster_rows: want["min_cluster_rows"].as_u64().unwrap() as usize,
            min_rows: want["min_rows"].as_u64().map(|m| m as usize),
            choice: if want["choice"] == "leaf" { Choice::Leaf } else { Choice::Mass },
            allow_single: false,
        };
        let model = params.fit(&Run::new(0), &data).unwrap();
        // Rows whose answer hangs on the order of equal edges, also in scikit-learn, are left out; they are few.
        let settled = whole(&want["settled"]);
        assert!(settled.len() >= 150, "{params:?}");
        let (mut names, mut probability) = (Vec::new(), Vec::new());
        let mut labels = Vec::new();
        for i in settled.iter().map(|i| *i as usize) {
            let label = model.labels()[i];
            if label >= 0 && !names.contains(&label) {
                names.push(label);
            }
            labels.push(names.iter().position(|n| *n == label).map_or(-1, |n| n as i64));
            probability.push(model.probabilities()[i]);
        }
        assert_eq!(labels, whole(&want["labels"]), "{params:?}");
        assert!(names.len() > 1);
        near("probability", &probability, &list(&want["probability"]), 1e-9);
        assert_eq!(model.predict(data.x()).unwrap(), model.labels());
        let far = Matrix::from_rows(&[[1e3, 1e3, 1e3]]).unwrap();
        assert_eq!(model.predict(&far).unwrap(), [-1]);
    }
}

#[test]
fn gaussian_mixture_as_scikit_learn() {
    let r = reference();
    let data = data(matrix(&r["x"]));
    let label: Vec<usize> = whole(&r["mixture"]["label"]).iter().map(|l| *l as usize).collect();
    for (name, covariance) in [
        ("full", Covariance::Full),
        ("tied", Covariance::Tied),
        ("diag", Covariance::Diagonal),
        ("spherical", Covariance::Spherical),
    ] {
        let want = &r["mixture"][name];
        let params = GaussianMixture { n_clusters: 4, covariance, ..GaussianMixture::default() };
        let model = params.fit_from(&Run::new(0), &data, &label).unwrap();
        assert_eq!(model.n_iter() as u64, want["n_iter"].as_u64().unwrap(), "{name}");
        near(name, model.shares(), &list(&want["share"]), 1e-8);
        near(name, model.means().values(), matrix(&want["means"]).values(), 1e-8);
        near(name, model.covariances(), &list(&want["covariance"]), 1e-8);
        let x = data.x().select_rows(&[0, 1, 2, 3, 4, 5]);
        near(name, model.predict_proba(&x).unwrap().values(), matrix(&want["proba"]).values(), 1e-8);
        near(
            name,
            &[model.bic(), model.aic()],
            &[&want["bic"], &want["aic"]].map(|v| v.as_f64().unwrap()),
            1e-9,
        );
        near(name, &[model.mean_log_density()], &[want["score"].as_f64().unwrap()], 1e-9);
        // Fitted from its own start, it is at least as likely as one part alone.
        let own = params.fit(&Run::new(3), &data).unwrap();
        let one = GaussianMixture { n_clusters: 1, ..params }.fit(&Run::new(3), &data).unwrap();
        assert!(own.mean_log_density() > one.mean_log_density(), "{name}");
    }
}

#[test]
fn principal_components_as_scikit_learn() {
    let r = &reference()["pca"];
    let data = data(matrix(&r["x"]));
    let first = data.x().select_rows(&[0, 1, 2, 3]);
    for (solver, tolerance) in [(Solver::Exact, 1e-10), (Solver::Randomised, 1e-10)] {
        let params = Pca { n_components: Some(4), solver, ..Pca::default() };
        let pca = params.fit(&Run::new(0), &data).unwrap();
        near("components", pca.components().values(), matrix(&r["components"]).values(), tolerance);
        near("variance", pca.explained_variance(), &list(&r["explained_variance"]), tolerance);
        near("ratio", pca.explained_variance_ratio(), &list(&r["ratio"]), tolerance);
        near("singular", pca.singular_values(), &list(&r["singular_values"]), tolerance);
        near("transform", pca.transform(&first).unwrap().values(), matrix(&r["transform"]).values(), 1e-9);
        let white = Pca { whiten: true, ..params }.fit(&Run::new(0), &data).unwrap();
        near("white", white.transform(&first).unwrap().values(), matrix(&r["white"]).values(), 1e-9);
        let svd = TruncatedSvd { n_components: 3, solver, ..TruncatedSvd::default() };
        let svd = svd.fit(&Run::new(0), &data).unwrap();
        let want = &r["svd"];
        near("svd values", svd.singular_values(), &list(&want["singular_values"]), 1e-9);
        near("svd variance", svd.explained_variance(), &list(&want["explained_variance"]), 1e-9);
        near("svd ratio", svd.explained_variance_ratio(), &list(&want["ratio"]), 1e-9);
        for c in 0..3 {
            let (got, want) = (svd.components().row(c), matrix(&want["components"]).row(c).to_vec());
            let sign = if got.iter().zip(&want).map(|(g, w)| g * w).sum::<f64>() > 0.0 { 1.0 } else { -1.0 };
            near("svd components", got, &want.iter().map(|w| sign * w).collect::<Vec<_>>(), 1e-9);
        }
    }
    let most = Pca { variance: Some(0.9), ..Pca::default() }.fit(&Run::new(0), &data).unwrap();
    assert_eq!(most.components().n_rows() as u64, r["for_90_percent"].as_u64().unwrap());
}

#[test]
fn measures_as_scikit_learn() {
    let r = reference();
    let (x, m, run) = (matrix(&r["x"]), &r["measures"], Run::new(0));
    let (a, b) = (whole(&m["label"]), whole(&m["other"]));
    near("silhouettes", &measures::silhouettes(&run, &x, &a).unwrap(), &list(&m["silhouettes"]), 1e-9);
    let got = [
        measures::silhouette(&run, &x, &a),
        measures::sampled_silhouette(&run, &x, &a, 1_000),
        measures::calinski_harabasz(&x, &a),
        measures::davies_bouldin(&x, &a),
        measures::adjusted_rand(&a, &b),
        measures::normalised_mutual_information(&a, &b),
    ]
    .map(Result::unwrap);
    let names = ["silhouette", "silhouette", "calinski_harabasz", "davies_bouldin", "adjusted_rand", "nmi"];
    near("measures", &got, &names.map(|n| m[n].as_f64().unwrap()), 1e-9);
    let sampled = measures::sampled_silhouette(&run, &x, &a, 80).unwrap();
    assert!((sampled - got[0]).abs() < 0.1 && sampled != got[0], "{sampled} of {}", got[0]);
    assert!(measures::silhouette(&run, &x, &vec![0; a.len()]).is_err());
}

/// Round groups with room between them, on a grid of corners.
fn groups(k: usize, per: usize, gap: f64) -> Matrix {
    let mut values = Vec::new();
    for i in 0..k * per {
        let (c, j) = (i % k, i / k);
        let turn = j as f64 * 2.399_963; // the golden angle fills a disc evenly
        let radius = ((j as f64 + 0.5) / per as f64).sqrt();
        values
            .extend([gap * (c % 3) as f64 + radius * turn.cos(), gap * (c / 3) as f64 + radius * turn.sin()]);
    }
    Matrix::new(k * per, 2, values).unwrap()
}

#[test]
fn the_number_of_groups_is_found_by_silhouette_and_gap() {
    let data = data(groups(4, 60, 6.0));
    for rule in [Rule::Silhouette, Rule::Gap] {
        let params = ChooseK { rule, k_max: 7, ..ChooseK::default() };
        let chosen = params.choose(&Run::new(5), &data).unwrap();
        assert_eq!((chosen.k, chosen.tried.len()), (4, 6), "{chosen:?}");
    }
    // One round group has no gap at two.
    let one = ChooseK { rule: Rule::Gap, k_min: 1, k_max: 4, ..ChooseK::default() };
    assert_eq!(one.choose(&Run::new(5), &self::data(groups(1, 200, 0.0))).unwrap().k, 1);
}

#[test]
fn more_starts_and_small_batches_find_the_groups() {
    let data = data(groups(6, 500, 5.0));
    let run = Run::new(2);
    let exact = KMeans { n_clusters: 6, n_starts: 3, ..KMeans::default() }.fit(&run, &data).unwrap();
    let truth: Vec<i64> = (0..3000).map(|i| i % 6).collect();
    let of = |labels: Vec<usize>| measures::adjusted_rand(&signed(&labels), &truth).unwrap();
    assert_eq!(of(exact.predict(data.x()).unwrap()), 1.0);
    let random = KMeans { n_clusters: 6, start: Start::Random, n_starts: 30, ..KMeans::default() };
    assert!((random.fit(&run, &data).unwrap().inertia() / exact.inertia() - 1.0).abs() < 1e-9);
    let batches = MiniBatchKMeans { n_clusters: 6, batch_rows: 200, ..MiniBatchKMeans::default() };
    let model = batches.fit(&run, &data).unwrap();
    assert_eq!(of(model.predict(data.x()).unwrap()), 1.0);
    assert!(model.inertia() < 1.05 * exact.inertia() && model.converged());
}

#[test]
fn equal_rows_leave_clusters_empty_and_break_nothing() {
    let data = data(Matrix::from_rows(&[[1.0, 2.0]; 20]).unwrap());
    let run = Run::new(0);
    let model = KMeans { n_clusters: 3, ..KMeans::default() }.fit(&run, &data).unwrap();
    assert_eq!((model.inertia(), model.sizes().iter().sum::<f64>()), (0.0, 20.0));
    let model = Hdbscan { allow_single: true, ..Hdbscan::default() }.fit(&run, &data).unwrap();
    assert_eq!(model.labels(), [0; 20]);
    let model = Hierarchical { n_clusters: 2, ..Hierarchical::default() }.fit(&run, &data).unwrap();
    assert_eq!(model.labels().iter().max(), Some(&1));
    assert!(Pca::default().fit(&run, &data).unwrap().explained_variance_ratio().iter().all(|r| *r == 0.0));
}

#[test]
fn random_directions_find_the_first_components_of_a_wide_table() {
    let (n, p) = (300, 120);
    let hash = |i: usize, j: usize| {
        let h = (i as u64 * 7919 + j as u64 * 104_729 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    // Five strong directions above a little noise.
    let values = (0..n * p)
        .map(|at| {
            let (i, j) = (at / p, at % p);
            let strong: f64 = (0..5).map(|c| (10 - c) as f64 * hash(i, 1000 + c) * hash(2000 + c, j)).sum();
            50.0 + strong + 0.1 * hash(i, j)
        })
        .collect();
    let data = data(Matrix::new(n, p, values).unwrap());
    let exact = Pca { n_components: Some(5), solver: Solver::Exact, ..Pca::default() };
    let random = Pca { solver: Solver::Randomised, ..exact };
    let (exact, one) =
        (exact.fit(&Run::new(1), &data).unwrap(), random.fit(&Run::new(1).with_threads(1), &data).unwrap());
    near("values", one.singular_values(), exact.singular_values(), 1e-9);
    near("components", one.components().values(), exact.components().values(), 1e-6);
    assert_eq!(one, random.fit(&Run::new(1).with_threads(3), &data).unwrap());
}

fn table() -> impl Strategy<Value = Matrix> {
    (20_usize..60, 1_usize..4).prop_flat_map(|(n, p)| {
        proptest::collection::vec(-100.0_f64..100.0, n * p).prop_map(move |v| Matrix::new(n, p, v).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Bounds spare work and change nothing.
    #[test]
    fn hamerly_gives_lloyds_clusters(x in table(), k in 1_usize..9, seed in 0_u64..50) {
        let data = data(x);
        let fit = |algorithm| KMeans { n_clusters: k, algorithm, ..KMeans::default() }.fit(&Run::new(seed), &data).unwrap();
        prop_assert_eq!(fit(Algorithm::Lloyd), fit(Algorithm::Hamerly));
    }

    /// Every row is with its nearest centre, and more rounds never cost inertia.
    #[test]
    fn rows_are_with_their_nearest_centre(x in table(), k in 1_usize..9) {
        let data = data(x);
        let params = KMeans { n_clusters: k, max_iter: 1, ..KMeans::default() };
        let (short, long) = (
            params.fit(&Run::new(1), &data).unwrap(),
            KMeans { max_iter: 300, tolerance: 0.0, ..params }.fit(&Run::new(1), &data).unwrap(),
        );
        prop_assert!(long.inertia() <= short.inertia() * (1.0 + 1e-12));
        let far = long.square_distances(data.x()).unwrap();
        let sum: f64 = far.iter().sum();
        prop_assert!((sum - long.inertia()).abs() <= 1e-9 * sum.max(1.0));
        for (row, far) in data.x().rows().zip(&far) {
            for c in long.centers().rows() {
                let to: f64 = row.iter().zip(c).map(|(a, b)| (a - b) * (a - b)).sum();
                prop_assert!(*far <= to);
            }
        }
    }

    /// Heights never fall, a cut into k has k clusters, and finer cuts split coarser ones.
    #[test]
    fn cuts_of_a_tree_nest(x in table(), k in 1_usize..19, which in 0_usize..4) {
        let linkage = [Linkage::Ward, Linkage::Average, Linkage::Complete, Linkage::Single][which];
        let model = Hierarchical { linkage, ..Hierarchical::default() }.fit(&Run::new(0), &data(x)).unwrap();
        prop_assert!(model.merges().windows(2).all(|m| m[0].height <= m[1].height));
        let (coarse, fine) = (model.cut(k).unwrap(), model.cut(k + 1).unwrap());
        prop_assert_eq!(coarse.iter().max(), Some(&(k - 1)));
        for i in 0..fine.len() {
            for j in 0..i {
                prop_assert!(fine[i] != fine[j] || coarse[i] == coarse[j]);
            }
        }
    }

    /// All components give the table back.
    #[test]
    fn components_give_the_table_back(x in table(), whiten in proptest::bool::ANY) {
        let data = data(x);
        let pca = Pca { whiten, ..Pca::default() }.fit(&Run::new(0), &data).unwrap();
        let back = pca.inverse(&pca.transform(data.x()).unwrap()).unwrap();
        near("back", back.values(), data.x().values(), 1e-9);
        let sum: f64 = pca.explained_variance_ratio().iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-9);
    }
}
