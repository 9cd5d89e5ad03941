//! Weights by name, in and out of safetensors.

use crate::dense::Fixed;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::collections::{BTreeMap, HashMap};
use tradewind_core::{Error, Result, packed};

/// Shapes and values by the paths of parameters (`layers.0.weight_ih`). Inside saved state they are one text, safetensors in
/// base64.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    pub(crate) of: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// Where in a network a visitor is.
#[derive(Default)]
pub(crate) struct Place(Vec<String>);

impl Place {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn leave(&mut self) {
        self.0.pop();
    }

    /// As `layers.0.weight_ih`.
    pub(crate) fn path(&self) -> String {
        self.0.join(".")
    }
}

struct Reading {
    place: Place,
    out: Weights,
}

impl ModuleVisitor for Reading {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        self.out.of.insert(self.place.path(), (shape, crate::values(tensor)));
    }
}

struct Writing<'a> {
    place: Place,
    from: &'a Weights,
    seen: usize,
    fault: Option<String>,
}

impl ModuleMapper for Writing<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.place.path();
        let expected = param.val().dims();
        match self.from.of.get(&path) {
            Some((shape, values)) if shape[..] == expected[..] => {
                self.seen += 1;
                param.map(|tensor| {
                    let trains = tensor.is_require_grad();
                    let new = Tensor::from_data(TensorData::new(values.clone(), expected), &tensor.device());
                    if trains { new.require_grad() } else { new }
                })
            }
            Some((shape, _)) => {
                let told = format!("`{path}` is {shape:?}, and the network has {expected:?}");
                self.fault.get_or_insert(told);
                param
            }
            None => {
                self.fault.get_or_insert(format!("`{path}` is missing"));
                param
            }
        }
    }
}

impl Weights {
    /// Those of a network.
    pub fn of<M: Module>(network: &M) -> Self {
        let mut reading = Reading { place: Place::default(), out: Self::default() };
        network.visit(&mut reading);
        reading.out
    }

    /// Puts them into a network of the same form.
    ///
    /// # Errors
    /// Weights that are missing, left over or of another shape.
    pub fn put_into<M: Module>(&self, network: M) -> Result<M> {
        let mut writing = Writing { place: Place::default(), from: self, seen: 0, fault: None };
        let network = network.map(&mut writing);
        let left = self.of.len() - writing.seen;
        match writing.fault {
            Some(fault) => Err(Error::Invalid(format!("these weights are of another network: {fault}"))),
            None if left > 0 => {
                Err(Error::Invalid(format!("these weights are of another network: {left} are left over")))
            }
            None => Ok(network),
        }
    }

    /// The paths of all parameters, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.of.keys().map(String::as_str)
    }

    /// The values of a parameter by its path.
    pub fn get(&self, path: &str) -> Option<&[f32]> {
        self.of.get(path).map(|(_, values)| &values[..])
    }

    /// Puts other values in the place of a parameter's.
    ///
    /// # Errors
    /// A path that is not there, another number of values.
    pub fn set(&mut self, path: &str, values: Vec<f32>) -> Result<()> {
        match self.of.get_mut(path) {
            Some((_, of)) if of.len() == values.len() => {
                *of = values;
                Ok(())
            }
            Some((shape, _)) => {
                Err(Error::Invalid(format!("`{path}` is {shape:?}, and there are {} values", values.len())))
            }
            None => Err(Error::Invalid(format!("there is no `{path}` among the weights"))),
        }
    }

    /// How many numbers there are.
    pub fn numbers(&self) -> usize {
        self.of.values().map(|(_, values)| values.len()).sum()
    }

    /// As safetensors, with remarks.
    ///
    /// # Errors
    /// None for weights of a network.
    pub fn to_safetensors(&self, remarks: &HashMap<String, String>) -> Result<Vec<u8>> {
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .of
            .iter()
            .map(|(name, (shape, values))| {
                (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            })
            .collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, shape, bytes) in &bytes {
            let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes).map_err(|e| invalid(&e))?;
            views.push(((*name).clone(), view));
        }
        safetensors::serialize(views, Some(remarks.clone())).map_err(|e| invalid(&e))
    }

    /// From safetensors, with their remarks. F64 and BF16 are read as single floats.
    ///
    /// # Errors
    /// Bytes that are no safetensors, numbers that are no floats.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, HashMap<String, String>)> {
        let (_, about) = SafeTensors::read_metadata(bytes).map_err(|e| invalid(&e))?;
        let remarks = about.metadata().clone().unwrap_or_default();
        let mut out = Self::default();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(|e| invalid(&e))?.iter() {
            let raw = view.data();
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                Dtype::F64 => raw.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
                Dtype::BF16 => {
                    let of = |b: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
                    raw.as_chunks().0.iter().map(of).collect()
                }
                other => {
                    return Err(Error::Invalid(format!(
                        "`{name}` holds {other:?}: F32, F64 and BF16 are read"
                    )));
                }
            };
            out.of.insert(name.to_owned(), (view.shape().to_vec(), values));
        }
        Ok((out, remarks))
    }
}

/// As packed safetensors.
impl Serialize for Weights {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let bytes = self.to_safetensors(&HashMap::new()).map_err(ser::Error::custom)?;
        packed::serialize(&bytes, to)
    }
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let bytes: Vec<u8> = packed::deserialize(from)?;
        Ok(Self::from_safetensors(&bytes).map_err(de::Error::custom)?.0)
    }
}

/// Weights that are taken one by one by their paths until none is left.
pub(crate) struct Taking<'a> {
    weights: &'a Weights,
    taken: usize,
}

impl<'a> Taking<'a> {
    pub(crate) fn new(weights: &'a Weights) -> Self {
        Self { weights, taken: 0 }
    }

    /// The `n` numbers of a path.
    pub(crate) fn take(&mut self, path: &str, n: usize) -> Result<Vec<f32>> {
        self.taken += 1;
        match self.weights.get(path) {
            Some(values) if values.len() == n => Ok(values.to_vec()),
            Some(values) => Err(Error::Invalid(format!(
                "these weights are of another network: `{path}` has {} numbers, and the network {n}",
                values.len()
            ))),
            None => Err(Error::Invalid(format!("these weights are of another network: `{path}` is missing"))),
        }
    }

    /// The dense layer of a path.
    pub(crate) fn dense(&mut self, path: &str, from: usize, to: usize) -> Result<Fixed> {
        let weight = self.take(&format!("{path}.weight"), to * from)?;
        Ok(Fixed::new(&weight, self.take(&format!("{path}.bias"), to)?))
    }

    /// Fails where some are left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.weights.of.len() - self.taken {
            0 => Ok(()),
            left => {
                Err(Error::Invalid(format!("these weights are of another network: {left} are left over")))
            }
        }
    }
}

fn invalid(e: &safetensors::SafeTensorError) -> Error {
    Error::Invalid(format!("these are no weights (safetensors): {e}"))
}
