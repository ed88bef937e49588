//! What vectors a collection takes, and whether these are such: known before the engine is asked to write anything.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use qdrant_client::qdrant::{
    CollectionInfo, PointStruct, QueryPoints, Vector, query, vector, vector_input, vectors,
    vectors_config::Config,
};

use super::Error;

/// How long a shape is believed. Collections are made anew with another shape at times, also by other replicas: what does
/// not fit is therefore looked at once more, and what seems to fit the engine checks itself.
const FRESH: Duration = Duration::from_secs(10);

/// Shapes that are kept: a few hundred bytes each.
const MOST: usize = 4096;

/// The vectors of a collection by name; the one without a name has the empty name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shape(HashMap<String, Kind>);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Of so many dimensions; multivectors too, which take one of these as their only row.
    Dense(usize),
    Sparse,
}

impl Shape {
    pub(super) fn of(info: &CollectionInfo) -> Self {
        let mut kinds = HashMap::new();
        let params = info.config.as_ref().and_then(|config| config.params.as_ref());
        let dense = params.and_then(|params| params.vectors_config.as_ref()?.config.as_ref());
        let size = |size: u64| Kind::Dense(usize::try_from(size).unwrap_or(usize::MAX));
        match dense {
            Some(Config::Params(params)) => {
                kinds.insert(String::new(), size(params.size));
            }
            Some(Config::ParamsMap(map)) => {
                kinds.extend(
                    map.map
                        .iter()
                        .map(|(name, params)| (name.clone(), size(params.size))),
                );
            }
            None => {}
        }
        let sparse = params.and_then(|params| params.sparse_vectors_config.as_ref());
        for name in sparse.into_iter().flat_map(|sparse| sparse.map.keys()) {
            kinds.insert(name.clone(), Kind::Sparse);
        }
        Self(kinds)
    }

    /// Whether points to be written have the right vectors.
    pub(super) fn points(&self, points: &[PointStruct]) -> Result<(), Error> {
        for (i, point) in points.iter().enumerate() {
            match point
                .vectors
                .as_ref()
                .and_then(|vectors| vectors.vectors_options.as_ref())
            {
                Some(vectors::VectorsOptions::Vector(vector)) => {
                    self.stored("", vector, || format!("points.{i}.vector"))?;
                }
                Some(vectors::VectorsOptions::Vectors(named)) => {
                    for (name, vector) in &named.vectors {
                        self.stored(name, vector, || format!("points.{i}.named_vectors.{name}"))?;
                    }
                }
                None if self.0.contains_key("") => {
                    return Err(Error::invalid(format!("points.{i}.vector"), "is missing"));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn stored(&self, name: &str, vector: &Vector, field: impl Fn() -> String) -> Result<(), Error> {
        let result = match &vector.vector {
            Some(vector::Vector::Dense(dense)) => self.dense(name, &dense.data),
            Some(vector::Vector::Sparse(sparse)) => self.sparse(name, &sparse.indices, &sparse.values),
            _ => Err("is neither dense nor sparse".to_owned()),
        };
        result.map_err(|why| Error::invalid(field(), why))
    }

    /// Whether a search looks by a vector that is there.
    pub(super) fn search(&self, search: &QueryPoints, prefix: &str) -> Result<(), Error> {
        let name = search.using.as_deref().unwrap_or_default();
        if !self.0.contains_key(name) {
            return Err(Error::invalid(format!("{prefix}vector_name"), self.unknown(name)));
        }
        let Some(query::Variant::Nearest(nearest)) =
            search.query.as_ref().and_then(|query| query.variant.as_ref())
        else {
            return Ok(());
        };
        let result = match &nearest.variant {
            Some(vector_input::Variant::Dense(dense)) => self.dense(name, &dense.data),
            Some(vector_input::Variant::Sparse(sparse)) => self.sparse(name, &sparse.indices, &sparse.values),
            _ => Ok(()),
        };
        result.map_err(|why| Error::invalid(format!("{prefix}vector"), why))
    }

    fn dense(&self, name: &str, values: &[f32]) -> Result<(), String> {
        match self.0.get(name) {
            Some(Kind::Dense(size)) if *size == values.len() => finite(values),
            Some(Kind::Dense(size)) => Err(format!(
                "has {} dimensions, and the collection has {size}",
                values.len()
            )),
            Some(Kind::Sparse) => {
                Err("is dense, and the collection's vector of this name is sparse: give indices".into())
            }
            None => Err(self.unknown(name)),
        }
    }

    fn sparse(&self, name: &str, indices: &[u32], values: &[f32]) -> Result<(), String> {
        match self.0.get(name) {
            Some(Kind::Sparse) => {}
            Some(Kind::Dense(_)) => {
                return Err("has indices, and the collection's vector of this name is dense".into());
            }
            None => return Err(self.unknown(name)),
        }
        if indices.len() != values.len() {
            return Err(format!(
                "has {} indices for {} numbers",
                indices.len(),
                values.len()
            ));
        }
        let mut seen = HashSet::with_capacity(indices.len());
        if let Some(twice) = indices.iter().find(|index| !seen.insert(**index)) {
            return Err(format!("has the index {twice} twice"));
        }
        finite(values)
    }

    fn unknown(&self, name: &str) -> String {
        let mut known: Vec<_> = self.0.keys().map(String::as_str).collect();
        known.sort_unstable();
        match (name, known.as_slice()) {
            (_, [""]) => "is not there: the collection has one vector, without a name".to_owned(),
            ("", known) => format!("is required: the collection has the vectors {known:?}"),
            (_, known) => format!("is not there: the collection has the vectors {known:?}"),
        }
    }
}

fn finite(values: &[f32]) -> Result<(), String> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(format!("is not finite: number {at} is {}", values[at])),
        None => Ok(()),
    }
}

/// The shapes of collections that were used of late.
#[derive(Default)]
pub(super) struct Shapes(RwLock<HashMap<String, (Instant, Arc<Shape>)>>);

impl Shapes {
    pub(super) fn get(&self, full: &str) -> Option<Arc<Shape>> {
        let shapes = self.0.read();
        let (at, shape) = shapes.get(full)?;
        (at.elapsed() < FRESH).then(|| Arc::clone(shape))
    }

    pub(super) fn put(&self, full: &str, shape: &Arc<Shape>) {
        let mut shapes = self.0.write();
        if shapes.len() >= MOST && !shapes.contains_key(full) {
            shapes.retain(|_, (at, _)| at.elapsed() < FRESH);
            if shapes.len() >= MOST {
                shapes.clear();
            }
        }
        shapes.insert(full.to_owned(), (Instant::now(), Arc::clone(shape)));
    }

    pub(super) fn forget(&self, full: &str) {
        self.0.write().remove(full);
    }
}

#[cfg(test)]
mod tests {
    use qdrant_client::qdrant::{DenseVector, SparseVector, Vectors};

    use super::*;

    fn shape(kinds: &[(&str, Kind)]) -> Shape {
        Shape(
            kinds
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), *kind))
                .collect(),
        )
    }

    fn dense(data: &[f32]) -> Vector {
        Vector {
            vector: Some(vector::Vector::Dense(DenseVector { data: data.to_vec() })),
            ..Default::default()
        }
    }

    fn point(vectors: Option<vectors::VectorsOptions>) -> PointStruct {
        PointStruct {
            vectors: vectors.map(|options| Vectors {
                vectors_options: Some(options),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn vectors_must_fit() {
        let one = shape(&[("", Kind::Dense(2))]);
        let written = |data: &[f32]| one.points(&[point(Some(vectors::VectorsOptions::Vector(dense(data))))]);
        assert!(written(&[1.0, 2.0]).is_ok());
        for bad in [
            &[1.0][..],
            &[],
            &[1.0, 2.0, 3.0],
            &[1.0, f32::NAN],
            &[f32::NEG_INFINITY, 0.0],
        ] {
            let error = written(bad).unwrap_err().to_string();
            assert!(error.starts_with("points.0.vector: "), "{error}");
        }
        assert!(one.points(&[point(None)]).is_err());
        assert!(shape(&[("a", Kind::Dense(2))]).points(&[point(None)]).is_ok());
    }

    #[test]
    fn sparse_vectors_must_be_whole() {
        let shape = shape(&[("words", Kind::Sparse)]);
        let written = |indices: &[u32], values: &[f32]| {
            let sparse = Vector {
                vector: Some(vector::Vector::Sparse(SparseVector {
                    indices: indices.to_vec(),
                    values: values.to_vec(),
                })),
                ..Default::default()
            };
            let named = [("words".to_owned(), sparse)].into();
            let named = qdrant_client::qdrant::NamedVectors { vectors: named };
            shape.points(&[point(Some(vectors::VectorsOptions::Vectors(named)))])
        };
        assert!(written(&[7, 1], &[1.0, 2.0]).is_ok());
        assert!(written(&[7], &[1.0, 2.0]).is_err());
        assert!(written(&[7, 7], &[1.0, 2.0]).is_err());
        assert!(written(&[7], &[f32::INFINITY]).is_err());
    }

    #[test]
    fn old_shapes_make_room() {
        let shapes = Shapes::default();
        let shape = Arc::new(Shape::default());
        for i in 0..=MOST {
            shapes.put(&i.to_string(), &shape);
        }
        assert!(shapes.0.read().len() <= MOST);
        assert!(shapes.get(&MOST.to_string()).is_some());
        shapes.forget(&MOST.to_string());
        assert!(shapes.get(&MOST.to_string()).is_none());
    }
}
