//! Who may do what: grants, the users, roles and tokens of a cluster, and what a change of them comes to. Owns every
//! decision about access and the rules of names; checks no password, signs nothing and knows no door.
//!
//! Reading order: [`grant`] (what is allowed where, and the one decision) · [`directory`] (who has which grants) ·
//! [`change`] (what a change writes, or why it is refused) · [`password`] (which are taken) · [`throttle`] (who may try
//! to log in again) · [`sign_on`] (whom a provider says somebody is) · [`audit`] (what is written down of it).

pub mod audit;
pub mod change;
pub mod directory;
pub mod grant;
pub mod password;
pub mod sign_on;
pub mod throttle;
