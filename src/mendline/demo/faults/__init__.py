"""The faults that the demo can inject: real changes of the world, each with what is expected of Mendline."""
