/// The max-min fair shares of `total`: each gets its weight's share, and what one does not want goes
/// to the others.
pub(super) fn max_min(total: f64, wanted: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut order: Vec<_> = wanted.iter().zip(weights).enumerate().collect();
    order.sort_by(|(_, (a, wa)), (_, (b, wb))| (*a / *wa).total_cmp(&(*b / *wb)));
    let (mut left, mut weight_left) = (total, weights.iter().sum::<f64>());
    let mut fair = vec![0.0; wanted.len()];
    for (at, (wanted, weight)) in order {
        let share = wanted.min(left * weight / weight_left.max(f64::MIN_POSITIVE));
        left -= share;
        weight_left -= weight;
        if let Some(fair) = fair.get_mut(at) {
            *fair = share;
        }
    }
    fair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_does_not_want_goes_to_the_others() {
        let fair = max_min(100.0, &[90.0, 10.0, 90.0], &[1.0, 1.0, 2.0]);
        assert_eq!(fair, [30.0, 10.0, 60.0]);
    }
}
