"""Search methods: how candidates are chosen. One method a module."""
