//! The admin API below `/admin/v1`: tenants, teams, users, virtual keys, budgets, usage, events.
//!
//! Every endpoint stands once in `router.rs`; the OpenAPI document is made from the same table.

mod actor;
mod admin;
mod crud;
mod decisions;
mod error;
mod guard;
mod keys;
mod openapi;
mod replay;
mod reports;
mod resource;
mod router;

pub use actor::{Actor, Authenticate, Seal};
pub use admin::{Admin, BudgetStanding, PriceRow, Standings};
pub use decisions::{Decisions, DeploymentRow};
pub use error::{AdminError, ErrorBody, ErrorDetails};
pub use guard::GuardTest;
pub use router::{openapi, router};
