//! Where networks are trained.

use burn::tensor::Device;
use tradewind_core::{Result, Run};

/// The device on which a run trains networks: the processor, or the first graphics processor.
///
/// # Errors
/// A graphics processor is asked for, and the program was built without the feature `gpu`, or none answers.
///
/// ```
/// use tradewind_core::{Device, Run};
/// assert!(tradewind_nn::device::of(&Run::new(1)).is_ok());
/// // A card that is not there is told, not a panic.
/// if let Err(e) = tradewind_nn::device::of(&Run::new(1).with_device(Device::Gpu)) {
///     assert!(e.to_string().contains("cpu"));
/// }
/// ```
pub fn of(run: &Run) -> Result<Device> {
    match run.device {
        tradewind_core::Device::Cpu => Ok(Device::flex()),
        tradewind_core::Device::Gpu => gpu(),
    }
}

#[cfg(not(feature = "gpu"))]
fn gpu() -> Result<Device> {
    Err(tradewind_core::Error::Invalid(
        "this program was built without graphics processors: build it with `--features gpu`, or take the device cpu".into(),
    ))
}

#[cfg(feature = "gpu")]
fn gpu() -> Result<Device> {
    use burn::tensor::Tensor;
    let none = |what: &str| {
        Err(tradewind_core::Error::Invalid(format!(
            "no graphics processor answers ({what}): see that its driver is installed, or take the device cpu"
        )))
    };
    // The driver is looked for when a device is first used, and what is missing ends in a panic there.
    let asked = std::panic::catch_unwind(|| {
        let device = Device::cuda(0);
        let sum = Tensor::<1>::ones([8], &device).sum().into_data();
        (device, sum.convert::<f32>().try_into_vec::<f32>().unwrap_or_default())
    });
    match asked {
        Ok((device, sum)) if sum == [8.0] => Ok(device),
        Ok(_) => none("a sum of eight ones came out wrong"),
        Err(_) => none("no CUDA device could be opened"),
    }
}
