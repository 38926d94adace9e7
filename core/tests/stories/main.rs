//! Golden stories: one situation each, told as text in `told/`. `INSTA_UPDATE=always cargo test --test stories` writes
//! them anew; read the difference before you believe it.

mod announcements;
mod answers;
mod crowd;
mod ending;
mod forgetting;
mod keeping;
mod manual;
mod orphans;
mod starting;
mod story;
mod trouble;
mod words;
