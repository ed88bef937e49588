//! The vector that a recommendation by average looks for.

use qdrant_edge::{SparseVector, TypedMultiDenseVector, VectorInternal};

use super::{Failure, Input, Strategy};

pub(super) fn check(positive: &[Input], negative: &[Input], strategy: Strategy) -> Result<(), Failure> {
    if !positive.is_empty() || (!negative.is_empty() && strategy != Strategy::AverageVector) {
        return Ok(());
    }
    Err(Failure::invalid(if strategy == Strategy::AverageVector {
        "recommend.positive: at least one positive example is required with this strategy"
    } else {
        "recommend: at least one positive or negative example is required with this strategy"
    }))
}

/// As far beyond the average of the positives as that of the negatives lies on the other side. Of multivectors, whose
/// rows cannot be averaged, all rows, those of the negatives turned round.
///
/// All vectors are of one kind and size, and there is at least one positive.
pub(super) fn average(
    positives: Vec<VectorInternal>,
    negatives: Vec<VectorInternal>,
) -> Result<VectorInternal, Failure> {
    match positives.first() {
        Some(VectorInternal::Dense(_)) => {
            let mut target = dense(positives)?;
            if !negatives.is_empty() {
                for (value, away) in target.iter_mut().zip(dense(negatives)?) {
                    *value += *value - away;
                }
            }
            finite(&target)?;
            Ok(VectorInternal::Dense(target))
        }
        Some(VectorInternal::Sparse(_)) => {
            let mut target = sparse(positives)?;
            if !negatives.is_empty() {
                target = target.combine_aggregate(&sparse(negatives)?, |value, away| value + value - away);
            }
            finite(&target.values)?;
            Ok(VectorInternal::Sparse(target))
        }
        Some(VectorInternal::MultiDense(_)) => {
            let mut rows = rows(positives)?;
            rows.extend(
                self::rows(negatives)?
                    .into_iter()
                    .map(|row| row.into_iter().map(|value| -value).collect()),
            );
            Ok(VectorInternal::MultiDense(
                TypedMultiDenseVector::try_from_matrix(rows)?,
            ))
        }
        None => Err(mixed()),
    }
}

fn dense(vectors: Vec<VectorInternal>) -> Result<Vec<f32>, Failure> {
    let count = vectors.len() as f32;
    let mut sum: Vec<f32> = Vec::new();
    for vector in vectors {
        let VectorInternal::Dense(values) = vector else {
            return Err(mixed());
        };
        sum.resize(values.len(), 0.0);
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    sum.iter_mut().for_each(|value| *value /= count);
    Ok(sum)
}

fn sparse(vectors: Vec<VectorInternal>) -> Result<SparseVector, Failure> {
    let count = vectors.len() as f32;
    let mut sum = SparseVector::default();
    for vector in vectors {
        let VectorInternal::Sparse(vector) = vector else {
            return Err(mixed());
        };
        sum = sum.combine_aggregate(&vector, |sum, value| sum + value);
    }
    sum.values.iter_mut().for_each(|value| *value /= count);
    Ok(sum)
}

fn rows(vectors: Vec<VectorInternal>) -> Result<Vec<Vec<f32>>, Failure> {
    let mut rows = Vec::new();
    for vector in vectors {
        let VectorInternal::MultiDense(vector) = vector else {
            return Err(mixed());
        };
        rows.extend(vector.into_multi_vectors());
    }
    Ok(rows)
}

fn mixed() -> Failure {
    Failure::invalid("recommend: Can't average vectors with different types")
}

fn finite(values: &[f32]) -> Result<(), Failure> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Failure::invalid(
        "recommend: the average of the examples is not finite",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_lies_beyond_the_positives() {
        let dense = |values: &[f32]| VectorInternal::Dense(values.to_vec());
        let target = average(
            vec![dense(&[1.0, 0.0]), dense(&[3.0, 2.0])],
            vec![dense(&[0.0, 4.0])],
        );
        assert_eq!(target.unwrap(), dense(&[4.0, -2.0]));
        let sparse = |indices: &[u32], values: &[f32]| {
            VectorInternal::Sparse(SparseVector {
                indices: indices.to_vec(),
                values: values.to_vec(),
            })
        };
        let target = average(
            vec![sparse(&[1, 5], &[2.0, 4.0]), sparse(&[5], &[2.0])],
            vec![sparse(&[1, 7], &[1.0, 1.0])],
        );
        assert_eq!(target.unwrap(), sparse(&[1, 5, 7], &[1.0, 6.0, -1.0]));
    }

    #[test]
    fn rows_of_negatives_are_turned_round() {
        let multi = |rows: &[&[f32]]| {
            let rows = rows.iter().map(|row| row.to_vec()).collect();
            VectorInternal::MultiDense(TypedMultiDenseVector::try_from_matrix(rows).unwrap())
        };
        let target = average(
            vec![multi(&[&[1.0, 2.0], &[3.0, 4.0]])],
            vec![multi(&[&[5.0, -6.0]])],
        );
        assert_eq!(target.unwrap(), multi(&[&[1.0, 2.0], &[3.0, 4.0], &[-5.0, 6.0]]));
    }

    #[test]
    fn an_average_that_is_not_finite_is_refused() {
        let huge = || VectorInternal::Dense(vec![f32::MAX]);
        assert!(average(vec![huge(), huge()], Vec::new()).is_err());
    }
}
