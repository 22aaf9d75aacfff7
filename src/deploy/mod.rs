//! Deployment: from files to the current plan. First start and hot deployment are one path.

mod fetch;
pub mod load;
pub mod scan;
pub mod watch;

pub use load::{Deployer, Report};
