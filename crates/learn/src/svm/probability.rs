//! From decisions between two classes to probabilities of all: pairwise coupling.

/// The probabilities of `k` classes that agree best with the probabilities `r[i * k + j]` of class `i` against class `j`
/// (Wu, Lin and Weng 2004, the second method): they minimise `Σ_{i≠j} (r_ji p_i − r_ij p_j)²`.
pub(super) fn couple(k: usize, r: &[f64], out: &mut [f64]) {
    let mut q = vec![0.0; k * k];
    for i in 0..k {
        for j in (0..k).filter(|&j| j != i) {
            q[i * k + i] += r[j * k + i] * r[j * k + i];
            q[i * k + j] = -r[j * k + i] * r[i * k + j];
        }
    }
    out.fill(1.0 / k as f64);
    let tolerance = 0.005 / k as f64;
    for _ in 0..k.max(100) {
        let mut qp: Vec<f64> = (0..k).map(|i| (0..k).map(|j| q[i * k + j] * out[j]).sum()).collect();
        let mut pqp: f64 = (0..k).map(|i| out[i] * qp[i]).sum();
        let worst = qp.iter().fold(0.0f64, |m, v| m.max((v - pqp).abs()));
        if worst < tolerance {
            break;
        }
        for i in 0..k {
            let diff = (pqp - qp[i]) / q[i * k + i];
            out[i] += diff;
            pqp = (pqp + diff * (diff * q[i * k + i] + 2.0 * qp[i])) / (1.0 + diff) / (1.0 + diff);
            for j in 0..k {
                qp[j] = (qp[j] + diff * q[i * k + j]) / (1.0 + diff);
                out[j] /= 1.0 + diff;
            }
        }
    }
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|p| *p /= sum);
}
