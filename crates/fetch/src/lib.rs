//! The one HTTP client of the product: it goes to public addresses only, follows nothing unasked and has a cap on everything.
//!
//! Whatever a stranger may name (a webhook, an MTA-STS policy, a feed, a picture) is fetched here and nowhere else,
//! so that there is one place that keeps requests out of our own network. It must not know what is fetched or why:
//! no crate of ours stands behind it, no cookie, proxy or credential is kept.
//!
//! ```no_run
//! # async fn example() -> Result<(), postrider_fetch::FetchError> {
//! use postrider_fetch::{FetchPolicy, FetchRequest, Fetcher};
//!
//! let fetcher = Fetcher::new(FetchPolicy::default());
//! let answer = fetcher.fetch(FetchRequest::get("https://mta-sts.example.com/.well-known/mta-sts.txt")).await?;
//! assert_eq!(answer.status, 200);
//! # Ok(())
//! # }
//! ```

mod address;
mod cidr;
mod error;
mod exchange;
mod fetcher;
mod policy;
mod target;

pub use address::special_use;
pub use cidr::{Cidr, CidrError};
pub use error::FetchError;
pub use exchange::{FetchRequest, FetchResponse};
pub use fetcher::{Fetcher, Resolve, SystemResolver};
pub use policy::FetchPolicy;
