"""Notifications: how they are stored, written for each kind of receiver, and sent. A kind of receiver is a module."""
