-- config is made by the image; the queue is a database of its own, so that nobody opens another's.
CREATE DATABASE queue OWNER posthouse;
