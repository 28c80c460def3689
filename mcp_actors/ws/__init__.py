"""RFC 6455 frames and the frame loop, independent of the product."""
