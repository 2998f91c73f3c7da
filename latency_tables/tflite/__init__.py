"""Any TFLite file: what the runtime makes of it, operator by operator."""
