"""The daemon: a ticker that nudges, workers that claim and evaluate, and a watchdog that ends a process gone dead.

What is due is decided by the store, never by a timer: a tick carries no time that anybody trusts. So a late tick, a
doubled one or a clock that was set moves no window. APScheduler holds three coarse ticks in memory and nothing else.
"""
