mod balance;
mod breaker;
mod breaker_properties;
mod breaker_shared;
