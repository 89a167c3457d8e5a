"""The windows of the plugin. They run models through the Processing algorithms only."""
