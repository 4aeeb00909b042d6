import java.util.List;
import javax.jms.InvalidDestinationException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TemporaryTopic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.DestinationDoesNotExistException;
import org.apache.activemq.command.ActiveMQDestination;

/** Temporary queues and topics: who may use them, and when they are gone. */
final class TemporaryDestinations extends JmsTest {
    @Test
    void a_reply_comes_back_over_a_temporary_queue() throws Exception {
        requestReply(connect(), connect());
    }

    @Test
    void a_reply_within_one_connection_comes_back_over_a_temporary_queue() throws Exception {
        ActiveMQConnection connection = connect();
        requestReply(connection, connection);
    }

    private void requestReply(ActiveMQConnection client, ActiveMQConnection server) throws Exception {
        Session serving = auto(server);
        serving.createConsumer(queue()).setMessageListener(request -> {
            try {
                Message reply = serving.createTextMessage("re: " + ((javax.jms.TextMessage) request).getText());
                reply.setJMSCorrelationID(request.getJMSMessageID());
                MessageProducer producer = serving.createProducer(request.getJMSReplyTo());
                producer.send(reply);
                producer.close();
            } catch (JMSException e) {
                throw new RuntimeException(e);
            }
        });
        Session session = auto(client);
        TemporaryQueue replies = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(replies);
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 20; i++) {
            Message request = session.createTextMessage("" + i);
            request.setJMSReplyTo(replies);
            producer.send(request);
            Message reply = take(consumer);
            equal("re: " + i, ((javax.jms.TextMessage) reply).getText());
            equal(request.getJMSMessageID(), reply.getJMSCorrelationID());
            equal(replies, reply.getJMSDestination());
        }
    }

    @Test
    void every_request_may_have_a_temporary_queue_of_its_own() throws Exception {
        ActiveMQConnection server = connect();
        Session serving = auto(server);
        serving.createConsumer(queue()).setMessageListener(request -> {
            try {
                serving.createProducer(null).send(request.getJMSReplyTo(), serving.createTextMessage("reply"));
            } catch (JMSException e) {
                throw new RuntimeException(e);
            }
        });
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 50; i++) {
            TemporaryQueue replies = session.createTemporaryQueue();
            MessageConsumer consumer = session.createConsumer(replies);
            Message request = session.createMessage();
            request.setJMSReplyTo(replies);
            producer.send(request);
            equal("reply", takeText(consumer));
            consumer.close();
            replies.delete();
        }
    }

    @Test
    void a_temporary_topic_reaches_all_consumers_of_its_connection() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        TemporaryTopic topic = session.createTemporaryTopic();
        MessageConsumer one = session.createConsumer(topic);
        MessageConsumer two = auto(connection).createConsumer(topic);
        Session other = auto(connect());
        send(other, known(other, topic), "news");
        equal("news", takeText(one));
        equal("news", takeText(two));
    }

    @Test
    void names_start_with_the_connection_and_all_differ() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        String prefix = connection.getConnectionInfo().getConnectionId().getValue() + ":";
        String first = session.createTemporaryQueue().getQueueName();
        String second = session.createTemporaryQueue().getQueueName();
        check(first.startsWith(prefix) && second.startsWith(prefix), first + " and " + second);
        check(!first.equals(second), "twice " + first);
    }

    @Test
    void only_its_connection_may_consume_from_it() throws Exception {
        TemporaryQueue queue = auto(connect()).createTemporaryQueue();
        Session other = auto(connect());
        InvalidDestinationException refusal =
                refused(InvalidDestinationException.class, () -> other.createConsumer(queue));
        contains("Cannot use a Temporary destination from another Connection", refusal.getMessage());
    }

    @Test
    void a_message_waits_in_a_temporary_queue_until_it_is_received() throws Exception {
        Session session = auto(connect());
        TemporaryQueue queue = session.createTemporaryQueue();
        Session other = auto(connect());
        send(other, known(other, queue), "waits");
        equal("waits", takeText(session.createConsumer(queue)));
    }

    @Test
    void sending_to_a_deleted_one_is_refused() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        TemporaryQueue queue = session.createTemporaryQueue();
        Session other = auto(connect("jms.watchTopicAdvisories=false"));
        MessageProducer producer = other.createProducer(queue);
        producer.send(other.createMessage());
        queue.delete();
        DestinationDoesNotExistException refusal =
                refused(DestinationDoesNotExistException.class, () -> producer.send(other.createMessage()));
        equal("temp-queue://" + queue.getQueueName(), refusal.getMessage());
    }

    @Test
    void sending_to_one_of_a_closed_connection_is_refused() throws Exception {
        ActiveMQConnection connection = connect();
        TemporaryTopic topic = auto(connection).createTemporaryTopic();
        Session other = auto(connect("jms.watchTopicAdvisories=false"));
        connection.close();
        DestinationDoesNotExistException refusal = refused(DestinationDoesNotExistException.class,
                () -> other.createProducer(topic).send(other.createMessage()));
        contains("temp-topic://" + topic.getTopicName(), refusal.getMessage());
    }

    @Test
    void a_producer_for_a_deleted_one_is_refused() throws Exception {
        TemporaryQueue queue = auto(connect()).createTemporaryQueue();
        Session other = auto(connect("jms.watchTopicAdvisories=false"));
        queue.delete();
        DestinationDoesNotExistException refusal =
                refused(DestinationDoesNotExistException.class, () -> other.createProducer(queue));
        contains("temp-queue://" + queue.getQueueName(), refusal.getMessage());
    }

    @Test
    void a_client_that_watches_advisories_knows_itself_that_one_is_gone() throws Exception {
        Session session = auto(connect());
        ActiveMQConnection other = connect();
        Session sending = auto(other);
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageProducer producer = sending.createProducer(known(sending, queue));
        queue.delete();
        eventually("the advisory arrived", () -> other.isDeleted((ActiveMQDestination) queue));
        InvalidDestinationException refusal = refused(InvalidDestinationException.class,
                () -> producer.send(sending.createMessage()));
        contains("Cannot publish to a deleted Destination: temp-queue://", refusal.getMessage());
    }

    @Test
    void one_with_a_consumer_cannot_be_deleted() throws Exception {
        Session session = auto(connect());
        TemporaryQueue queue = session.createTemporaryQueue();
        MessageConsumer consumer = session.createConsumer(queue);
        JMSException refusal = refused(JMSException.class, queue::delete);
        contains("A consumer is consuming from the temporary destination", refusal.getMessage());
        consumer.close();
        queue.delete();
    }

    @Test
    void they_work_in_transactions() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        TemporaryQueue queue = session.createTemporaryQueue();
        send(session, queue, "dropped");
        session.rollback();
        send(session, queue, "kept");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue);
        equal("kept", takeText(consumer));
        session.rollback();
        equal("kept", takeText(consumer));
        session.commit();
        nothing(consumer);
    }

    @Test
    void they_can_be_browsed_by_their_connection() throws Exception {
        Session session = auto(connect());
        TemporaryQueue queue = session.createTemporaryQueue();
        send(session, queue, "seen");
        equal(true, session.createBrowser(queue).getEnumeration().hasMoreElements());
    }

    /** Waits until the session's connection has heard of the destination, which it would refuse before. */
    private static <T> T known(Session session, T destination) throws Exception {
        ActiveMQConnection connection = ((org.apache.activemq.ActiveMQSession) session).getConnection();
        eventually("the advisory arrived", () -> !connection.isDeleted((ActiveMQDestination) destination));
        return destination;
    }
}
