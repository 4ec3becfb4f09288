//! Integration tests: a module per source module.

mod architecture;
mod codec_regressions;
mod cold;
mod convert;
mod damage;
mod examples;
mod format;
mod golden;
mod golden_archives;
mod hostile;
mod lightgbm_regressions;
mod mapping;
mod model;
mod pickle_regressions;
mod regressions;
mod store;
mod versions;
mod xgboost_regressions;
