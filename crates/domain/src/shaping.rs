//! Traffic shaping: what a provider allows, what it told us, and how fast we go now.
//!
//! Pure: profiles are data, replies are text, the time comes in. Knows no queue, no connection and no clock.
//!
//! ```text
//! profile   what is known of a provider, as TOML       shipped   the profiles that come with the program
//! site      from MX hosts to the site that runs them   pattern   texts of replies, matched in linear time
//! pace      evenly spaced messages                     shaper    limits and adaptation of one source × site
//! hold      what holds a message back, in one sentence settings  what a workspace sets otherwise
//! view      what people see of it all
//! ```

mod hold;
mod level;
mod pace;
mod pattern;
mod profile;
mod settings;
mod shaper;
mod shipped;
mod site;
mod view;

pub use hold::{Hold, HoldReason};
pub use pace::Pace;
pub use pattern::Pattern;
pub use profile::{Action, Limits, Profile, ProfileError, Reply, Rule, Sourced, TlsDemand};
pub use settings::{SettingsError, SiteSettings};
pub use shaper::{Heard, SetSpeed, Shaper, Stopped, Trouble};
pub use shipped::Profiles;
pub use site::{registrable, site_of};
pub use view::{FlowView, ReplyView, SiteView, reply_for_people};
