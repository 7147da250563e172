//! The admin API: tenants, keys, budgets, prices, reports.
