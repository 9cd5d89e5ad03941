//! Statistics that follow the batches while a network is trained.

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::{Device, Tensor, TensorData};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Numbers that a layer changes as it is used. They are saved with the weights, and no optimiser touches them.
///
/// burn's own state of this kind is shared between the clones of a network, so the copy that training keeps of its best epoch
/// would go on changing. A clone of this one is a copy.
#[derive(Debug)]
pub(super) struct Running {
    id: ParamId,
    value: Mutex<Tensor<1>>,
}

impl Running {
    pub(super) fn new(value: Tensor<1>) -> Self {
        Self { id: ParamId::new(), value: Mutex::new(value) }
    }

    fn get(&self) -> Tensor<1> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn values(&self) -> Vec<f32> {
        crate::values(self.get())
    }

    /// Makes each number to what `f` says of its place and of what it was.
    pub(super) fn update(&self, f: impl Fn(usize, f32) -> f32) {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let (device, n) = (value.device(), value.dims());
        let new: Vec<f32> =
            crate::values(value.clone()).into_iter().enumerate().map(|(k, old)| f(k, old)).collect();
        *value = Tensor::from_data(TensorData::new(new, n), &device);
    }

    fn with(self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        let value = self.value.into_inner().unwrap_or_else(PoisonError::into_inner);
        Self { id: self.id, value: Mutex::new(f(value)) }
    }
}

impl Clone for Running {
    fn clone(&self) -> Self {
        Self { id: self.id, value: Mutex::new(self.get()) }
    }
}

impl Module for Running {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.get()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let id = self.id;
        self.with(|value| {
            let (_, value, _) = mapper.map_float(Param::initialized(id, value)).consume();
            value.set_require_grad(false)
        })
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|value| value.to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Vec<Device>) -> Vec<Device> {
        let device = self.get().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone().with(Tensor::without_autodiff)
    }

    fn train(self) -> Self {
        self.with(Tensor::from_inner)
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running(id={})", self.id)
    }
}

impl ModuleDisplayDefault for Running {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"Running".to_owned()).optional()
    }
}

impl ModuleDisplay for Running {}
